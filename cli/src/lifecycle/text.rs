//! The lines and tables of the suite, as PCP documents them.

use std::fmt::Write;
use std::time::Duration;

use super::Phase;
use super::report::{CaseReport, Check, Evidence, Mark, SuiteReport, Verdict};

const BAR: &str = "========================================";
const RULE: &str = "─────────────────────────────────────";
/// The inner width of the summary's frame.
const WIDTH: usize = 88;

/// What a test is about, before its phases.
#[derive(Debug, Clone, Default)]
pub(crate) struct About<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// What the guest is.
    pub(crate) description: &'a str,
    /// The guest's name.
    pub(crate) hostname: &'a str,
    /// Where its SSH server is reached.
    pub(crate) ssh: String,
}

/// The begin of a test.
pub(crate) fn title(about: &About<'_>) -> String {
    let About {
        name,
        description,
        hostname,
        ssh,
    } = about;
    format!(
        "{BAR}\n  PCP MicroVM Full Lifecycle Test ({name})\n{BAR}\n\nDescription: {description}\n\
         Hostname: {hostname}\n{ssh}\n\n"
    )
}

/// The begin of a phase.
pub(crate) fn heading(phase: Phase, limit: Duration) -> String {
    format!(
        "--- Phase {}: {} (timeout: {}s) ---\n",
        phase.number(),
        phase.title(),
        limit.as_secs_f64()
    )
}

/// A line of a phase.
pub(crate) fn line(check: &Check) -> String {
    let mark = match check.mark {
        Mark::Note => "",
        Mark::Passed => "PASS: ",
        Mark::Failed => "FAIL: ",
    };
    let cause = check.cause.as_ref();
    let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    format!("  {mark}{}{cause} ({}ms)\n", check.text, check.after_ms)
}

/// The end of a test: how long each phase took, and how it came out.
pub(crate) fn closing(report: &CaseReport) -> String {
    let mut text = format!(
        "  Timing Summary\n  {RULE}\n  {:<22}{:>15}\n",
        "Phase", "Time (ms)"
    );
    let _ = writeln!(text, "  {RULE}");
    for phase in &report.phases {
        let time = match phase.verdict {
            Verdict::Skipped => "skipped".to_owned(),
            _ => phase.duration_ms.to_string(),
        };
        let _ = writeln!(text, "  {:<22}{time:>15}", phase.phase.word());
    }
    let _ = writeln!(
        text,
        "  {RULE}\n  {:<22}{:>15}\n  {RULE}",
        "TOTAL", report.duration_ms
    );
    if let Some(evidence) = &report.evidence {
        text.push_str(&found(evidence));
    }
    let failed: Vec<&str> = report
        .phases
        .iter()
        .filter(|it| it.verdict == Verdict::Failed)
        .map(|it| it.phase.word())
        .collect();
    let result = match report.verdict {
        Verdict::Passed => "ALL PHASES PASSED".to_owned(),
        _ => format!("FAILED ({})", failed.join(", ")),
    };
    let seconds = report.duration_ms as f64 / 1000.0;
    let _ = write!(
        text,
        "\n{BAR}\n  Result: {result}\n  Total time: {seconds:.1}s\n{BAR}\n"
    );
    text
}

/// What was found when a test failed.
fn found(evidence: &Evidence) -> String {
    let mut text = String::new();
    let mut block = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            let _ = writeln!(text, "\n  {title}");
            for line in lines {
                let _ = writeln!(text, "    {line}");
            }
        }
    };
    block("The console's last lines:", &evidence.console);
    for journal in &evidence.journals {
        block(&format!("The journal of {}:", journal.unit), &journal.lines);
    }
    block("What to try:", &evidence.hints);
    text
}

/// A test that is not run.
pub(crate) fn skipped(name: &str, reason: &str) -> String {
    format!("SKIP: {name}: {reason}\n\n")
}

/// The table of a whole run.
pub(crate) fn summary(report: &SuiteReport) -> String {
    let edge = "═".repeat(WIDTH);
    let row = |text: &str| format!("║  {text:<width$}║\n", width = WIDTH - 2);
    let mut text = format!("\n╔{edge}╗\n");
    text.push_str(&format!(
        "║{:^WIDTH$}║\n╠{edge}╣\n",
        "LIFECYCLE TEST SUMMARY"
    ));
    let columns = [Phase::Build, Phase::Start, Phase::Serial, Phase::Virtio]
        .into_iter()
        .chain([Phase::Services, Phase::Metrics, Phase::Exit]);
    let mut head = format!("{:<14}{:<8}", "Variant", "Result");
    for phase in columns.clone() {
        let word = phase.word();
        let (first, rest) = word.split_at(1);
        let _ = write!(head, "{:<9}", first.to_uppercase() + rest);
    }
    text.push_str(&row(&head));
    let _ = writeln!(text, "╠{edge}╣");
    for test in &report.tests {
        let mut line = format!("{:<14}{:<8}", test.name, test.verdict.word());
        match &test.reason {
            // In full it was told when its turn came.
            Some(reason) => line.push_str(&shortened(reason, WIDTH - 4 - line.len())),
            None => {
                for column in columns.clone() {
                    let _ = write!(line, "{:<9}", cell(test, column));
                }
            }
        }
        text.push_str(&row(line.trim_end()));
    }
    let _ = writeln!(text, "╠{edge}╣");
    let SuiteReport {
        passed,
        failed,
        skipped,
        ..
    } = report;
    let skips = match skipped {
        0 => String::new(),
        skipped => format!(", {skipped} skipped"),
    };
    text.push_str(&row(&format!(
        "TOTAL: {passed} passed, {failed} failed{skips}"
    )));
    text.push_str(&row(&format!(
        "Total time: {}",
        minutes(report.duration_ms)
    )));
    let _ = writeln!(text, "╚{edge}╝");
    text
}

/// The words of `text` that fit into `width` columns.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    let end = short.rfind(' ').unwrap_or(short.len());
    short.truncate(end);
    short.push('…');
    short
}

fn cell(test: &CaseReport, phase: Phase) -> String {
    let found = test.phases.iter().find(|it| it.phase == phase);
    match found {
        Some(it) if it.verdict == Verdict::Passed => format!("{}ms", it.duration_ms),
        Some(it) => it.verdict.word().to_owned(),
        None => "-".to_owned(),
    }
}

fn minutes(ms: u64) -> String {
    let seconds = (ms + 500) / 1000;
    match seconds / 60 {
        0 => format!("{:.1}s", ms as f64 / 1000.0),
        minutes => format!("{minutes}m {}s", seconds % 60),
    }
}

#[cfg(test)]
pub(super) mod tests;
