//! Waivers for code: what a chip lacks and a program has all the same, because something keeps it from being executed.

use serde::{Deserialize, Serialize};

use super::glibc::matches;
use crate::culprit::list::Culprit;
use crate::culprit::origin::Origin;

/// Whose code a waiver is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A crate, by its package's name.
    Crate(String),
    /// A part of the tool chain.
    Part(String),
    /// A package of a base.
    Package(String),
}

/// `[[audit.code-waivers]]` of xtask.toml, for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeWaiver {
    /// Whose code.
    pub subject: Subject,
    /// The version it was looked at in: of the crate, of the tool chain (`zig 0.17.1`), of the package.
    pub version: String,
    /// Symbols, in which `*` stands for any characters.
    pub symbols: Vec<String>,
    /// What keeps the code from being executed.
    pub guard: String,
    /// Why that is enough.
    pub reason: String,
}

impl CodeWaiver {
    /// `crate ring 0.17.14`.
    pub fn describe(&self) -> String {
        let (kind, name) = match &self.subject {
            Subject::Crate(name) => ("crate", name),
            Subject::Part(name) => ("part", name),
            Subject::Package(name) => ("package", name),
        };
        format!("{kind} {name} {}", self.version)
    }

    fn is_for(&self, origin: &Origin) -> bool {
        match (&self.subject, origin) {
            (Subject::Crate(wanted), Origin::Crate { name, .. })
            | (Subject::Part(wanted), Origin::Toolchain { part: name, .. })
            | (Subject::Package(wanted), Origin::Package { name, .. }) => wanted == name,
            _ => false,
        }
    }
}

fn version_of(origin: &Origin) -> &str {
    match origin {
        Origin::Crate { version, .. } | Origin::Toolchain { version, .. } | Origin::Package { version, .. } => version,
        Origin::Unknown { .. } => "",
    }
}

/// Accepts the functions that a waiver is for. What comes back are waivers, and patterns of waivers, that are for nothing,
/// each with what there is instead: the policy never says more than is so.
pub fn waive(culprits: &mut [Culprit], waivers: &[CodeWaiver]) -> Vec<String> {
    let mut idle = Vec::new();
    for waiver in waivers {
        let mut versions: Vec<&str> = Vec::new();
        let mut used = vec![false; waiver.symbols.len()];
        for culprit in culprits.iter_mut().filter(|culprit| waiver.is_for(&culprit.origin)) {
            if version_of(&culprit.origin) != waiver.version {
                versions.push(version_of(&culprit.origin));
                continue;
            }
            for function in &mut culprit.functions {
                let Some(symbol) = &function.symbol else { continue };
                let Some(hit) = waiver.symbols.iter().position(|pattern| matches(pattern, symbol)) else {
                    continue;
                };
                used[hit] = true;
                if function.accepted.is_none() {
                    function.accepted = Some(format!("{}; guard: {}", waiver.reason, waiver.guard));
                }
            }
        }
        let missing: Vec<&str> = waiver
            .symbols
            .iter()
            .zip(&used)
            .filter(|(_, used)| !**used)
            .map(|(pattern, _)| pattern.as_str())
            .collect();
        if !versions.is_empty() && missing.len() == used.len() {
            idle.push(format!("{}: it is {} here", waiver.describe(), versions.join(" and ")));
        } else if !missing.is_empty() {
            idle.push(format!(
                "{}: nothing is found in {}",
                waiver.describe(),
                missing.join(", ")
            ));
        }
    }
    idle
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::culprit::list::Suspect;

    fn culprit(version: &str, symbols: &[&str]) -> Culprit {
        let function = |symbol: &&str| Suspect {
            symbol: Some((*symbol).to_owned()),
            object: None,
            address: 0x1000,
            instructions: 2,
            needs: ["NEON".to_owned()].into(),
            reached: Some(true),
            accepted: None,
            unguarded: None,
        };
        Culprit {
            origin: Origin::Crate {
                name: "ring".to_owned(),
                version: version.to_owned(),
            },
            path: Vec::new(),
            instructions: 2 * symbols.len(),
            functions: symbols.iter().map(function).collect(),
        }
    }

    fn waiver(version: &str, symbols: &[&str]) -> CodeWaiver {
        CodeWaiver {
            subject: Subject::Crate("ring".to_owned()),
            version: version.to_owned(),
            symbols: symbols.iter().map(|symbol| (*symbol).to_owned()).collect(),
            guard: "AT_HWCAP".to_owned(),
            reason: "chosen at run time".to_owned(),
        }
    }

    #[test]
    fn a_waiver_holds_for_its_version_and_its_symbols() {
        let mut culprits = [culprit("0.17.14", &["sha256_neon", "poly1305_neon2", "other"])];
        assert!(waive(&mut culprits, &[waiver("0.17.14", &["sha256_*", "poly1305_neon2"])]).is_empty());
        // A new finding beside it is not accepted.
        assert_eq!(culprits[0].open(), 2);
        assert!(
            culprits[0].line().ends_with("4 of them accepted"),
            "{}",
            culprits[0].line()
        );
    }

    #[test]
    fn a_waiver_for_nothing_is_named() {
        let mut culprits = [culprit("0.17.14", &["sha256_neon"])];
        assert_eq!(
            waive(&mut culprits, &[waiver("0.17.13", &["*"])]),
            ["crate ring 0.17.13: it is 0.17.14 here"]
        );
        assert_eq!(culprits[0].open(), 2);
        assert_eq!(
            waive(&mut culprits, &[waiver("0.17.14", &["sha256_*", "gone_*"])]),
            ["crate ring 0.17.14: nothing is found in gone_*"]
        );
        assert_eq!(waive(&mut [], &[waiver("0.17.14", &["sha256_*"])]).len(), 1);
    }
}
