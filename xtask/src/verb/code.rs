//! The audit of a program that was compiled here, with all that is known of where its code comes from.

use crate::audit::accuse::CodePolicy;
use crate::audit::{Binary, Expectation, Report, audit_with};
use crate::compile::{Record, dependencies};
use crate::culprit::list::Culprit;
use crate::culprit::origin::Origin;
use crate::cx::Cx;
use crate::error::Result;
use crate::policy::Policy;
use crate::verb::explain::trace;

/// Audits a program that has its symbols and takes them away: what comes back can be shipped. The error inside is the report
/// with all findings.
///
/// Where its code comes from is only looked up when it matters, for findings and for waivers: that takes longer than the
/// rest of the audit, and cargo may have to be asked.
///
/// # Errors
///
/// When cargo cannot be asked how a crate got in.
pub fn audited(
    cx: &Cx,
    policy: &Policy,
    bytes: &[u8],
    expectation: &Expectation,
    record: &Record,
    strict: bool,
) -> Result<std::result::Result<Binary, Box<Report>>> {
    let mut code = CodePolicy {
        waivers: policy.code_waivers(expectation.platform),
        allowed: policy.allowed(expectation.platform),
        strict,
        ..CodePolicy::default()
    };
    if code.waivers.is_empty() || strict {
        let first = audit_with(bytes.to_vec(), expectation, &code);
        let accused = |report: &Report| report.culprits.iter().any(|culprit| culprit.open() > 0);
        match first {
            Err(report) if accused(&report) => {}
            other => return Ok(other.and_then(Binary::stripped)),
        }
    }
    code.evidence = record.evidence(cx, bytes);
    let mut result = audit_with(bytes.to_vec(), expectation, &code);
    let is_crate = |culprit: &Culprit| matches!(culprit.origin, Origin::Crate { .. });
    let culprits = match &mut result {
        Ok(binary) => binary.culprits_mut(),
        Err(report) => &mut report.culprits,
    };
    if culprits.iter().any(is_crate) {
        let graph = dependencies(cx, &record.package, &record.triple, &record.packages)?;
        if let Err(problem) = &graph {
            cx.ui
                .warn(&format!("how a crate got into the program cannot be told: {problem}"));
        }
        culprits.iter_mut().for_each(|culprit| trace(culprit, &graph));
    }
    Ok(result.and_then(Binary::stripped))
}
