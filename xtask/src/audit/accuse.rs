//! Who brought what the platform lacks, and what of it is accepted.

use super::checks::Checks;
use super::code::{Code, Function};
use super::report::Rule;
use super::waive::{CodeWaiver, waive};
use crate::culprit::list::{Culprit, Instruction, culprits};
use crate::culprit::origin::{Evidence, Origin};

/// What is known of the code of a file, and what the policy says to it.
#[derive(Clone, Debug, Default)]
pub struct CodePolicy {
    /// What says whose code is where. Without any, names alone have to do.
    pub evidence: Evidence,
    /// Where the whole file comes from, when that is known: a package of a base.
    pub origin: Option<Origin>,
    /// Waivers for code on the platform.
    pub waivers: Vec<CodeWaiver>,
    /// Accept nothing: neither guards that were checked nor waivers.
    pub strict: bool,
}

/// Instructions of one function, for asking who brought them.
fn of(function: &Function) -> impl Iterator<Item = Instruction> {
    function.instructions.iter().map(|instruction| Instruction {
        address: instruction.address,
        needs: instruction.needs.clone(),
        symbol: function.symbol.clone(),
        function: function.start,
    })
}

impl Checks {
    /// Attributes every instruction that the platform lacks, and turns findings in functions that are accepted into waived
    /// checks. Instructions are left as findings when they cannot be attributed.
    pub(super) fn accuse(&mut self, bytes: &[u8], code: &Code, policy: &CodePolicy) -> Vec<Culprit> {
        let instructions: Vec<Instruction> = code.functions.iter().flat_map(of).collect();
        let mut found = match culprits(bytes, &instructions, &policy.evidence) {
            Ok(found) => found,
            Err(error) => {
                self.check(
                    Rule::Culprit,
                    false,
                    error.to_string(),
                    "a program whose functions can be attributed",
                    "what brought the instructions could not be told",
                );
                return Vec::new();
            }
        };
        if let Some(origin) = &policy.origin {
            for culprit in &mut found {
                if matches!(culprit.origin, Origin::Unknown { .. }) {
                    culprit.origin = origin.clone();
                }
            }
        }
        if policy.strict {
            for function in found.iter_mut().flat_map(|culprit| &mut culprit.functions) {
                function.accepted = None;
            }
            return found;
        }
        for idle in waive(&mut found, &policy.waivers) {
            self.check(
                Rule::Waiver,
                false,
                idle,
                "every waiver to match a finding",
                "look at the new code, then change or take out the waiver in [[audit.code-waivers]] of xtask.toml",
            );
        }
        for function in &code.functions {
            let Some(first) = of(function).next() else { continue };
            let suspect = found
                .iter()
                .flat_map(|culprit| &culprit.functions)
                .find(|suspect| suspect.symbol == function.symbol && suspect.address == first.address);
            if let Some(reason) = suspect.and_then(|suspect| suspect.accepted.as_deref()) {
                self.accept(Rule::Beyond, &function.describe(), reason);
            }
        }
        found
    }
}
