//! Reading ELF files: pure, from bytes to facts.
