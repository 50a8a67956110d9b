//! The result of an audit: for machines as JSON (serde), for people as a table.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::code::Code;
use crate::culprit::list::Culprit;
use crate::target::Platform;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $title:literal;)*) => {
        /// What was checked. The identifier is stable: waivers and scripts name it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Rule {
            $($(#[$doc])* #[serde(rename = $id)] $name,)*
        }

        impl Rule {
            /// All rules, in the order in which they are checked.
            pub const ALL: &'static [Rule] = &[$(Rule::$name,)*];

            /// The identifier: `arm.cpu-arch`.
            pub fn id(self) -> &'static str {
                match self { $(Rule::$name => $id,)* }
            }

            /// What readelf or the specification calls it: `Tag_CPU_arch`.
            pub fn title(self) -> &'static str {
                match self { $(Rule::$name => $title,)* }
            }
        }
    };
}

rules! {
    /// The file can be read as ELF to the end.
    Readable = "elf.readable", "ELF file";
    /// The target's platform is the image's platform.
    Target = "expectation.target", "Target's platform";
    /// 32 or 64 bits.
    Class = "elf.class", "Class";
    /// Byte order.
    Encoding = "elf.encoding", "Data";
    /// `e_machine`.
    Machine = "elf.machine", "Machine";
    /// A program, not a library or an object file.
    Type = "elf.type", "Type";
    /// EABI version 5.
    Eabi = "arm.eabi", "EABI version";
    /// Float ABI in `e_flags`.
    FloatFlag = "arm.float-flag", "Float ABI flag";
    /// There are build attributes.
    Attributes = "arm.attributes", "Build attributes";
    /// Architecture version.
    CpuArch = "arm.cpu-arch", "Tag_CPU_arch";
    /// Architecture profile.
    CpuProfile = "arm.cpu-profile", "Tag_CPU_arch_profile";
    /// Thumb instructions.
    Thumb = "arm.thumb", "Tag_THUMB_ISA_use";
    /// Floating-point instructions.
    FpArch = "arm.fp-arch", "Tag_FP_arch";
    /// NEON.
    Simd = "arm.simd", "Tag_Advanced_SIMD_arch";
    /// Wireless MMX.
    Wmmx = "arm.wmmx", "Tag_WMMX_arch";
    /// Half-precision floating point.
    FpHalf = "arm.fp-hp", "Tag_FP_HP_extension";
    /// PLDW.
    Mp = "arm.mp", "Tag_MPextension_use";
    /// SDIV, UDIV.
    Div = "arm.div", "Tag_DIV_use";
    /// Extensions of the M profile and later ones: DSP, MVE, PAC, BTI, ThumbEE.
    Extension = "arm.extension", "Other extensions";
    /// SMC, HVC, ERET.
    Virtualization = "arm.virtualization", "Tag_Virtualization_use";
    /// Float ABI in the attributes.
    VfpArgs = "arm.vfp-args", "Tag_ABI_VFP_args";
    /// A private arrangement instead of the ABI.
    Compatibility = "arm.compatibility", "Tag_compatibility";
    /// No attribute that must be understood and is not.
    UnknownTag = "arm.unknown-tag", "Unknown tags";
    /// How the instructions were found and how many.
    Walk = "code.walk", "Instructions";
    /// Instructions that the platform lacks, function by function.
    Beyond = "code.beyond", "Beyond the chip";
    /// Words in code that no chip knows.
    Undefined = "code.undefined", "Undefined words";
    /// Instructions whose effect is left open.
    Unpredictable = "code.unpredictable", "Unpredictable";
    /// Words that would be beyond the chip, in bytes that may be data.
    NotReached = "code.not-reached", "Not reached";
    /// `PT_INTERP`.
    Interpreter = "link.interpreter", "Interpreter";
    /// `DT_NEEDED` and every other way to have a library loaded.
    Needed = "link.needed", "Needed libraries";
    /// `DT_RPATH` and `DT_RUNPATH`.
    Rpath = "link.rpath", "RPATH, RUNPATH";
    /// Highest `GLIBC_` version.
    Glibc = "link.glibc", "glibc version";
    /// `GLIBC_PRIVATE`.
    GlibcPrivate = "link.glibc-private", "GLIBC_PRIVATE";
    /// Versions of other libraries' symbols.
    Versions = "link.versions", "Other versions";
    /// `PT_GNU_STACK`.
    Stack = "harden.stack", "Stack";
    /// `PT_GNU_RELRO`.
    Relro = "harden.relro", "RELRO";
    /// Segments both writable and executable.
    WritableCode = "harden.nx", "Writable code";
    /// Position independence.
    Pie = "harden.pie", "PIE";
    /// `NT_GNU_BUILD_ID`.
    BuildId = "note.build-id", "Build ID";
    /// Section headers and symbol table.
    Symbols = "note.symbols", "Symbols";
    /// Index entry, configuration, label and code of an image name one platform.
    Platform = "image.platform", "Platform";
    /// What an image starts is in it.
    Program = "image.program", "Program";
    /// Whose code it is can be told.
    Culprit = "code.culprit", "Culprits";
    /// What is shipped has the code of what was audited.
    SameCode = "strip.code", "Code after stripping";
    /// Every waiver of the policy still has its finding.
    Waiver = "policy.waiver", "Waiver";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Not as expected; there is a finding.
    Failed,
    /// Nothing is expected; a fact worth knowing.
    Noted,
    /// Not as expected, and the policy says why that is all right here.
    Waived,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked.
    pub rule: Rule,
    /// How it went.
    pub outcome: Outcome,
    /// What the file has, in words.
    pub found: String,
    /// What it should have, in words; `None` for what is only noted.
    pub expected: Option<String>,
    /// The reason of the waiver; for [`Outcome::Waived`] alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<String>,
}

/// Something that keeps the file out of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was checked.
    pub rule: Rule,
    /// What the file has, in words.
    pub found: String,
    /// What it should have, in words.
    pub expected: String,
    /// Why it matters or what to do next.
    pub hint: String,
}

/// How deep the audit went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Depth {
    /// Headers, dynamic segment and build attributes. Instructions were not decoded: code that its attributes do not own up
    /// to is not found.
    Tags,
    /// All of that, and every executable byte.
    Instructions,
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Depth::Tags => "headers and build attributes; instructions not decoded",
            Depth::Instructions => "headers, build attributes and every instruction",
        })
    }
}

/// Everything that was checked of one file, in the order of [`Rule::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the file.
    pub file: String,
    /// Size in bytes.
    pub size: u64,
    /// `sha256:` and the digest of the bytes in hexadecimal.
    pub digest: String,
    /// What was audited, when that is not the file itself: `sha256:` and the digest of the same program with its symbols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audited: Option<String>,
    /// The platform that it was held against.
    pub platform: Platform,
    /// The Rust target triple that it was held against; `None` for a file of a base.
    pub triple: Option<String>,
    /// How deep the audit went.
    pub depth: Depth,
    /// Every check, passed or not.
    pub checks: Vec<Check>,
    /// The checks that failed, with what to do.
    pub findings: Vec<Finding>,
    /// Who brought what the platform lacks, accepted or not; most of what is not first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub culprits: Vec<Culprit>,
    /// What was decoded; `None` where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
}

impl Report {
    /// For a file that was not looked at: one finding, which says why.
    pub fn unreadable(file: &str, bytes: &[u8], platform: Platform, reason: String) -> Report {
        let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let (rule, expected) = (
            Rule::Readable,
            "an ELF file, or an archive of them, that can be read".to_owned(),
        );
        Report {
            file: file.to_owned(),
            size: bytes.len() as u64,
            digest: format!("sha256:{hex}"),
            platform,
            triple: None,
            depth: Depth::Tags,
            audited: None,
            code: None,
            culprits: Vec::new(),
            checks: vec![Check {
                rule,
                outcome: Outcome::Failed,
                found: reason.clone(),
                expected: Some(expected.clone()),
                waived: None,
            }],
            findings: vec![Finding {
                rule,
                found: reason,
                expected,
                hint: "what cannot be read cannot be judged: take it out of the image, or make it anew".to_owned(),
            }],
        }
    }

    /// Whether nothing was found.
    pub fn passed(&self) -> bool {
        self.findings.is_empty()
    }

    /// The table for people. Text from the file is escaped, so that a name in it cannot forge a line.
    pub fn text(&self) -> String {
        let mut shown = 0;
        let rows: Vec<[String; 4]> = self
            .checks
            .iter()
            // Functions are listed among the findings.
            .filter(|check| {
                let function = check.rule == Rule::Beyond && check.outcome == Outcome::Failed;
                shown += usize::from(function);
                !function || shown <= SHOWN
            })
            .map(|check| {
                let mark = match check.outcome {
                    Outcome::Passed => "ok",
                    Outcome::Failed => "FAIL",
                    Outcome::Noted => "-",
                    Outcome::Waived => "wvd",
                };
                let expected = match (check.outcome, &check.expected, &check.waived) {
                    (Outcome::Failed, Some(expected), _) => format!("expected {}", escape(expected)),
                    (Outcome::Waived, Some(expected), Some(reason)) => {
                        format!("expected {}; waived: {}", escape(expected), escape(reason))
                    }
                    _ => String::new(),
                };
                [
                    mark.to_owned(),
                    check.rule.title().to_owned(),
                    escape(&check.found),
                    expected,
                ]
            })
            .collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        // One long name must not push the last column out of sight.
        let widths = [4, width(1), width(2).min(40)];
        let against = match &self.triple {
            Some(triple) => format!("{} ({triple})", self.platform),
            None => self.platform.to_string(),
        };
        let mut text = format!(
            "{}: {against}, {} bytes, {}\n",
            escape(&self.file),
            self.size,
            self.digest
        );
        for [mark, title, found, expected] in &rows {
            let [a, b, c] = widths;
            let line = format!("  {mark:<a$}  {title:<b$}  {found:<c$}  {expected}");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let functions = self
            .findings
            .iter()
            .filter(|finding| finding.rule == Rule::Beyond)
            .count();
        let mut told = 0;
        for (index, finding) in self.findings.iter().enumerate() {
            if finding.rule == Rule::Beyond {
                told += 1;
                if told > SHOWN {
                    if told == functions {
                        let (rule, more) = (finding.rule, functions - SHOWN);
                        text.push_str(&format!("{rule}: and {more} more functions; `--json` lists them all\n"));
                        text.push_str(&format!("hint: {}\n", escape(&finding.hint)));
                    }
                    continue;
                }
            }
            let (rule, title) = (finding.rule, finding.rule.title());
            let (found, expected) = (escape(&finding.found), escape(&finding.expected));
            text.push_str(&format!("{rule}: {title}: {found}, expected {expected}\n"));
            // Findings with one cause share its hint.
            let next = self.findings.get(index + 1);
            if next.is_none_or(|next| next.hint != finding.hint) {
                text.push_str(&format!("hint: {}\n", escape(&finding.hint)));
            }
        }
        for culprit in &self.culprits {
            text.push_str(&format!("brought by {}\n", escape(&culprit.line())));
        }
        let verdict = match self.findings.len() {
            0 => "no findings".to_owned(),
            1 => "1 finding".to_owned(),
            count => format!("{count} findings"),
        };
        text.push_str(&format!("{verdict} ({})\n", self.depth));
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// How many functions the text names. A library for another chip has thousands.
const SHOWN: usize = 16;

/// Control characters, and those that reorder or hide text, in their escaped form.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        let hides =
            matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if char.is_control() || hides {
            escaped.extend(char.escape_default());
        } else {
            escaped.push(char);
        }
    }
    escaped
}
