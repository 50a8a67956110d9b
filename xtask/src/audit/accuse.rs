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
    /// What the platform is taken to have on top of its name.
    pub allowed: Vec<Allowance>,
    /// Accept nothing: neither guards that were checked nor waivers.
    pub strict: bool,
}

/// An extension that the policy takes for granted on a platform: `[[audit.allow]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// As the report words it: `registers d16 to d31`.
    pub needs: String,
    /// Why every chip that the image meets has it.
    pub reason: String,
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
            let mut suspect = found
                .iter_mut()
                .flat_map(|culprit| &mut culprit.functions)
                .find(|suspect| suspect.symbol == function.symbol && suspect.address == first.address);
            // A function that needs nothing else than what is allowed.
            if let Some(suspect) = suspect.as_mut().filter(|suspect| suspect.accepted.is_none()) {
                let reason = |needs: &String| policy.allowed.iter().find(|allowed| allowed.needs == *needs);
                let reasons: Option<Vec<&Allowance>> = suspect.needs.iter().map(reason).collect();
                suspect.accepted = reasons.map(|reasons| {
                    let texts: Vec<&str> = reasons.iter().map(|allowed| allowed.reason.as_str()).collect();
                    texts.join("; ")
                });
            }
            if let Some(reason) = suspect.and_then(|suspect| suspect.accepted.as_deref()) {
                self.accept(Rule::Beyond, &function.describe(), reason);
            }
        }
        found
    }
}
