//! The audit of a program that was compiled here, with all that is known of where its code comes from.

use crate::audit::accuse::CodePolicy;
use crate::audit::verdict::rules_version;
use crate::audit::{Binary, Expectation, Report, audit_with};
use crate::cache::key_of;
use crate::compile::{Record, dependencies};
use crate::culprit::list::Culprit;
use crate::culprit::origin::Origin;
use crate::cx::Cx;
use crate::error::Result;
use crate::oci::Digest;
use crate::policy::Policy;
use crate::verb::explain::trace;

/// Audits a program that has its symbols and takes them away: what comes back can be shipped. The error inside is the report
/// with all findings.
///
/// Where its code comes from is only looked up when it matters, for findings and for waivers: that takes longer than the
/// rest of the audit, and cargo may have to be asked. A report without findings is kept in the cache, by all that it depends on:
/// a program that did not change is not decoded again.
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
    let code = CodePolicy {
        waivers: policy.code_waivers(expectation.platform),
        allowed: policy.allowed(expectation.platform),
        strict,
        ..CodePolicy::default()
    };
    let key = key_of([
        rules_version(),
        include_str!("code.rs"),
        include_str!("../compile/record.rs"),
        &Digest::of(bytes).to_string(),
        &format!("{expectation:?} {code:?}"),
        &format!("{:?} {:?} {:?}", record.packages, record.linker, record.compiler),
        &record.map_digest(cx).unwrap_or_default(),
    ]);
    let kept = cx.cache.record::<Report>(KEPT, &key);
    if let Some(binary) = kept.and_then(|report| Binary::remembered(bytes, report)) {
        return Ok(Ok(binary));
    }
    let result = look(cx, bytes, expectation, record, code)?;
    if let Ok(binary) = &result
        && !binary.report().culprits.iter().any(is_crate)
    {
        // How a crate got in depends on manifests, too. A record that is not written costs the next run a second.
        let _ = cx.cache.put_record(KEPT, &key, binary.report());
    }
    Ok(result)
}

/// Reports of programs that were compiled here.
const KEPT: &str = "audit-program";

fn is_crate(culprit: &Culprit) -> bool {
    matches!(culprit.origin, Origin::Crate { .. })
}

fn look(
    cx: &Cx,
    bytes: &[u8],
    expectation: &Expectation,
    record: &Record,
    mut code: CodePolicy,
) -> Result<std::result::Result<Binary, Box<Report>>> {
    if code.waivers.is_empty() || code.strict {
        let first = audit_with(bytes.to_vec(), expectation, &code);
        let accused = |report: &Report| report.culprits.iter().any(|culprit| culprit.open() > 0);
        match first {
            Err(report) if accused(&report) => {}
            other => return Ok(other.and_then(Binary::stripped)),
        }
    }
    code.evidence = record.evidence(cx, bytes);
    let mut result = audit_with(bytes.to_vec(), expectation, &code);
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
