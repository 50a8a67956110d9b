//! What the audit checks of an ELF: pure, from bytes and an expectation to a report.
