use super::super::report::{Journal, PhaseReport};
use super::*;

pub(crate) fn phase(phase: Phase, verdict: Verdict, ms: u64) -> PhaseReport {
    let mark = match verdict {
        Verdict::Passed => Mark::Passed,
        _ => Mark::Failed,
    };
    PhaseReport {
        phase,
        number: phase.number(),
        verdict,
        timeout_seconds: 30.0,
        began_ms: 0,
        duration_ms: ms,
        checks: vec![Check {
            mark,
            text: format!("{phase} <&> all"),
            cause: (mark == Mark::Failed).then(|| "it is \"not\"".to_owned()),
            after_ms: ms,
        }],
    }
}

pub(crate) fn suite() -> SuiteReport {
    let good = CaseReport {
        name: "base".into(),
        verdict: Verdict::Passed,
        reason: None,
        duration_ms: 12_096,
        phases: Phase::ALL.map(|it| phase(it, Verdict::Passed, 54)).into(),
        evidence: None,
    };
    let mut bad = CaseReport {
        name: "eval".into(),
        verdict: Verdict::Failed,
        duration_ms: 90_000,
        evidence: Some(Evidence {
            console: vec!["a login:".into()],
            journals: vec![Journal {
                unit: "pmcd".into(),
                lines: vec!["it broke".into()],
            }],
            hints: vec!["`pcp-vmm ssh`".into()],
        }),
        ..good.clone()
    };
    bad.phases[4] = phase(Phase::Services, Verdict::Failed, 60_000);
    bad.phases[5] = PhaseReport {
        checks: Vec::new(),
        ..phase(Phase::Metrics, Verdict::Skipped, 0)
    };
    let skipped = CaseReport::skipped("base-tap", "there is no bridge pcpbr0".into());
    SuiteReport::new(vec![good, bad, skipped], Duration::from_millis(185_400))
}

#[test]
fn a_test_begins_as_documented() {
    let about = About {
        name: "base",
        description: "Base PCP",
        hostname: "pcp-vm",
        ssh: "SSH Port: 22022".into(),
    };
    let text = title(&about);
    assert!(
        text.contains("\n  PCP MicroVM Full Lifecycle Test (base)\n"),
        "{text}"
    );
    assert!(
        text.ends_with("Hostname: pcp-vm\nSSH Port: 22022\n\n"),
        "{text}"
    );
}

#[test]
fn a_test_ends_with_its_times_and_its_result() {
    let text = closing(&suite().tests[0]);
    assert!(
        text.contains("\n  serial                             54\n"),
        "{text}"
    );
    assert!(
        text.contains("\n  TOTAL                           12096\n"),
        "{text}"
    );
    assert!(
        text.contains("\n  Result: ALL PHASES PASSED\n  Total time: 12.1s\n"),
        "{text}"
    );
}

#[test]
fn a_failure_shows_what_was_found_and_what_to_try() {
    let text = closing(&suite().tests[1]);
    for part in [
        "\n  The console's last lines:\n    a login:\n",
        "\n  The journal of pmcd:\n    it broke\n",
        "\n  What to try:\n    `pcp-vmm ssh`\n",
        "\n  metrics                       skipped\n",
        "\n  Result: FAILED (services)\n",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn the_summary_is_a_table_with_straight_edges() {
    let text = summary(&suite());
    let widths: Vec<usize> = text.trim().lines().map(|it| it.chars().count()).collect();
    assert!(widths.iter().all(|&width| width == WIDTH + 2), "{text}");
    for part in [
        "║  base          PASS    54ms ",
        "║  eval          FAIL    54ms     54ms     54ms     54ms     FAIL     SKIP     54ms ",
        "║  base-tap      SKIP    there is no bridge pcpbr0 ",
        "║  TOTAL: 1 passed, 1 failed, 1 skipped ",
        "║  Total time: 3m 5s ",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_long_reason_stays_within_the_table() {
    let mut suite = suite();
    let reason = "the TAP network is not set up: no pcpbr0, no pcptap0; `network setup` does it";
    suite.tests[2].reason = Some(reason.into());
    let text = summary(&suite);
    let widths = text.trim().lines().map(|it| it.chars().count());
    assert!(widths.into_iter().all(|width| width == WIDTH + 2), "{text}");
    assert!(
        text.contains("the TAP network is not set up: no pcpbr0, no pcptap0;… "),
        "{text}"
    );
}
