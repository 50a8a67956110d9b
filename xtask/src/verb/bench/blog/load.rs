//! The load: wrk with a few connections that stay open, and what it says.

use std::path::{Path, PathBuf};

use crate::cx::Cx;
use crate::error::{Context, Error, Result};

/// As many as a browser or two open.
const CONNECTIONS: u32 = 8;

/// wrk, as Debian packages it.
#[derive(Clone, Debug)]
pub(super) struct Wrk {
    program: PathBuf,
    /// Seconds of each measurement.
    pub(super) seconds: u64,
}

impl Wrk {
    /// The one in PATH.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn find(cx: &Cx, seconds: u64) -> Result<Wrk> {
        let program = cx
            .shell
            .which("wrk")
            .context(|| "`wrk` is not in PATH")
            .hint("install it: apt-get install wrk")?;
        Ok(Wrk { program, seconds })
    }

    /// Answers to GET `url`, or to what `script` asks for; compressed where the server can.
    ///
    /// # Errors
    /// wrk fails; an answer that is no success.
    pub(super) fn answers(&self, cx: &Cx, url: &str, script: Option<&Path>) -> Result<f64> {
        let mut command = cx.shell.command(&self.program).args([
            "--threads=1".to_owned(),
            format!("--connections={CONNECTIONS}"),
            format!("--duration={}s", self.seconds),
            "--timeout=60s".to_owned(),
            "--header=Accept-Encoding: gzip".to_owned(),
        ]);
        if let Some(script) = script {
            command = command.arg(format!("--script={}", script.display()));
        }
        let text = command.arg(url).read()?;
        parse(&text).context(|| format!("under load, {url} did not answer as it should"))
    }
}

fn parse(text: &str) -> Result<f64> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name))?;
        Some(line.trim().to_owned())
    };
    if let Some(count) = value("Non-2xx or 3xx responses:") {
        return Err(Error::new(format!("{count} answers were no success")));
    }
    // `61538 requests in 1.10s, 6.10MB read`
    let line = text.lines().find_map(|line| line.split_once(" requests in "));
    let count = line.and_then(|(count, _)| count.trim().parse::<f64>().ok());
    count
        .filter(|count| *count > 0.0)
        .context(|| format!("wrk counted no answers: {}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 8 connections\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    \
        Latency   143.21us   93.09us   1.73ms   96.51%\n  61538 requests in 1.10s, 6.10MB read\nRequests/sec:  55941.71\nTransfer/sec:      5.55MB\n";

    #[test]
    fn answers_are_counted_and_failures_are_no_answers() {
        assert_eq!(parse(FINE).unwrap(), 61_538.0);
        let refused = FINE.replace("Requests/sec", "  Non-2xx or 3xx responses: 17\nRequests/sec");
        assert!(parse(&refused).unwrap_err().to_string().contains("17 answers"));
        let none = FINE.replace("61538 requests", "0 requests");
        assert!(parse(&none).unwrap_err().to_string().contains("no answers"));
    }
}
