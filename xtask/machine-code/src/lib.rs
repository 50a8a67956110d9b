//! ELF files, and which chip can execute what is in them: the part of the audit that looks at every instruction.
//!
//! A crate of its own so that `[profile.dev.package.machine-code]` of the workspace can optimise it: decoding is most of the time of
//! an audit, and the rest of the pipeline is compiled sooner without. xtask has it as its rooms `elf` and `isa`.

pub mod elf;
pub mod isa;
