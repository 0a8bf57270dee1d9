//! The suite's results as JUnit XML: a test suite for each guest, a test case for each phase.

use std::fmt::Write;

use super::report::{CaseReport, Mark, PhaseReport, SuiteReport, Verdict};
use super::text;

/// The whole file.
pub(crate) fn xml(report: &SuiteReport) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let suites: Vec<String> = report.tests.iter().map(suite).collect();
    let count = |verdict| -> usize { report.tests.iter().map(|it| cases(it, verdict)).sum() };
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        out,
        "<testsuites name=\"pcp-vmm lifecycle\" tests=\"{}\" failures=\"{}\" time=\"{}\">",
        report
            .tests
            .iter()
            .map(|it| it.phases.len().max(1))
            .sum::<usize>(),
        count(Verdict::Failed),
        seconds(report.duration_ms)
    );
    out.push_str(&suites.concat());
    out.push_str("</testsuites>\n");
    out
}

/// How many cases of a test came out so.
fn cases(test: &CaseReport, verdict: Verdict) -> usize {
    match test.phases.as_slice() {
        [] => usize::from(test.verdict == verdict),
        phases => phases.iter().filter(|it| it.verdict == verdict).count(),
    }
}

fn suite(test: &CaseReport) -> String {
    let name = escaped(&test.name);
    let mut out = format!(
        "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{}\">\n",
        test.phases.len().max(1),
        cases(test, Verdict::Failed),
        cases(test, Verdict::Skipped),
        seconds(test.duration_ms)
    );
    if test.phases.is_empty() {
        let reason = escaped(test.reason.as_deref().unwrap_or_default());
        let _ = writeln!(
            out,
            "    <testcase classname=\"lifecycle.{name}\" name=\"all\" time=\"0\"><skipped message=\"{reason}\"/></testcase>"
        );
    }
    for phase in &test.phases {
        out.push_str(&case(&name, phase));
    }
    if test.evidence.is_some() {
        let _ = writeln!(
            out,
            "    <system-out>{}</system-out>",
            escaped(&text::closing(test))
        );
    }
    out.push_str("  </testsuite>\n");
    out
}

fn case(suite: &str, phase: &PhaseReport) -> String {
    let mut out = format!(
        "    <testcase classname=\"lifecycle.{suite}\" name=\"{} {}\" time=\"{}\">",
        phase.number,
        phase.phase,
        seconds(phase.duration_ms)
    );
    match phase.verdict {
        Verdict::Passed => {}
        Verdict::Skipped => out.push_str("<skipped message=\"not reached\"/>"),
        Verdict::Failed => {
            let failed = phase.checks.iter().filter(|it| it.mark == Mark::Failed);
            let first = failed.clone().next().map(|it| it.text.as_str());
            let all: String = phase.checks.iter().map(text::line).collect();
            let _ = write!(
                out,
                "<failure message=\"{}\">{}</failure>",
                escaped(first.unwrap_or_default()),
                escaped(&all)
            );
        }
    }
    out.push_str("</testcase>\n");
    out
}

fn seconds(ms: u64) -> String {
    format!("{:.3}", ms as f64 / 1000.0)
}

/// `text` as XML 1.0 may hold it: what it cannot hold at all is replaced.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c < ' ' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::text::tests::suite as example;
    use super::*;

    #[test]
    fn every_phase_is_a_case_and_a_failure_says_what_failed() {
        let xml = xml(&example());
        for part in [
            "<testsuites name=\"pcp-vmm lifecycle\" tests=\"17\" failures=\"1\" time=\"185.400\">",
            "<testsuite name=\"base\" tests=\"8\" failures=\"0\" errors=\"0\" skipped=\"0\" time=\"12.096\">",
            "<testcase classname=\"lifecycle.base\" name=\"2b virtio\" time=\"0.054\"></testcase>",
            "<failure message=\"services &lt;&amp;&gt; all\">  FAIL: services &lt;&amp;&gt; all: it is &quot;not&quot; (60000ms)\n</failure>",
            "name=\"4 metrics\" time=\"0.000\"><skipped message=\"not reached\"/></testcase>",
            "<testcase classname=\"lifecycle.base-tap\" name=\"all\" time=\"0\"><skipped message=\"there is no bridge pcpbr0\"/>",
            "The journal of pmcd:\n    it broke",
        ] {
            assert!(xml.contains(part), "{part} is not in {xml}");
        }
        assert_eq!(
            xml.matches("<testsuite ").count(),
            xml.matches("</testsuite>").count()
        );
        assert_eq!(
            xml.matches("<testcase ").count(),
            xml.matches("</testcase>").count()
        );
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(
            escaped("a\u{1b}[m\0\u{ffff}é\n"),
            "a\u{fffd}[m\u{fffd}\u{fffd}é\n"
        );
    }
}
