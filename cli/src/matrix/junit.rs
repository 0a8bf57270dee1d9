//! The results of a matrix as JUnit XML: a test case for each cell.

use std::fmt::Write;

use super::results::{Counts, Outcome, Verdict};
use crate::lifecycle::junit::escaped;

/// The whole file; `read_log` gives the end of a log.
pub(crate) fn xml(
    name: &str,
    outcomes: &[Outcome],
    read_log: impl Fn(&Outcome) -> String,
) -> String {
    let counts = Counts::of(outcomes);
    let seconds: f64 = outcomes.iter().map(Outcome::seconds).sum();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        out,
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{seconds:.3}\">",
        escaped(name),
        counts.cells,
        counts.failed + counts.timeout,
        counts.error,
        counts.interrupted,
    );
    for outcome in outcomes {
        let _ = write!(
            out,
            "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">",
            escaped(name),
            escaped(&outcome.cell.name),
            outcome.seconds()
        );
        let message = escaped(&outcome.told());
        let element = match outcome.verdict {
            Verdict::Passed => None,
            Verdict::Interrupted => {
                let _ = write!(out, "<skipped message=\"{message}\"/>");
                None
            }
            Verdict::Failed | Verdict::Timeout => Some("failure"),
            Verdict::Error => Some("error"),
        };
        if let Some(element) = element {
            let log = escaped(&read_log(outcome));
            let _ = write!(out, "<{element} message=\"{message}\">{log}</{element}>");
        }
        if outcome.flaky {
            let _ = write!(out, "<system-out>{message}</system-out>");
        }
        out.push_str("</testcase>\n");
    }
    out.push_str("</testsuite>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::outcome;
    use super::*;

    #[test]
    fn a_cell_is_a_case_with_its_log_and_its_retries() {
        let outcomes = [
            outcome("a", &[(Verdict::Error, 125), (Verdict::Passed, 0)]),
            outcome("b <&", &[(Verdict::Failed, 7)]),
            outcome("c", &[(Verdict::Error, 125)]),
            outcome("d", &[]),
        ];
        let xml = xml("m.toml", &outcomes, |it| format!("log of {}", it.cell.name));
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuite name=\"m.toml\" tests=\"4\" failures=\"1\" errors=\"1\" skipped=\"1\" time=\"5.000\">
  <testcase classname=\"m.toml\" name=\"a\" time=\"2.500\"><system-out>passed, after error</system-out></testcase>
  <testcase classname=\"m.toml\" name=\"b &lt;&amp;\" time=\"1.250\"><failure message=\"failed (7)\">log of b &lt;&amp;</failure></testcase>
  <testcase classname=\"m.toml\" name=\"c\" time=\"1.250\"><error message=\"error\">log of c</error></testcase>
  <testcase classname=\"m.toml\" name=\"d\" time=\"0.000\"><skipped message=\"interrupted\"/></testcase>
</testsuite>
";
        assert_eq!(xml, expected);
    }
}
