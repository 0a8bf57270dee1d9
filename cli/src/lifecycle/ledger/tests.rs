use super::*;

const PHASES: [Phase; 4] = [Phase::Start, Phase::Serial, Phase::Virtio, Phase::Services];

fn ledger() -> (Ledger, Instant) {
    let now = Instant::now();
    let limits = Limits::new(1.0, &[]);
    (Ledger::new("base", "base", &PHASES, &limits, now), now)
}

fn after(begin: Instant, ms: u64) -> Instant {
    begin + Duration::from_millis(ms)
}

#[test]
fn what_happens_at_once_is_shown_in_turn() {
    let (mut ledger, begin) = ledger();
    let mut take = |event, ms| ledger.take(event, after(begin, ms));
    assert_eq!(
        take(Event::Began(Phase::Start), 0),
        "--- Phase 1: Start VM (timeout: 5s) ---\n"
    );
    let started = Event::Passed(Phase::Start, "VM process running (PID: 7)".into());
    assert_eq!(
        take(started, 54),
        "  PASS: VM process running (PID: 7) (54ms)\n"
    );
    assert_eq!(take(Event::Ended(Phase::Start), 60), "\n");
    assert!(take(Event::Began(Phase::Serial), 60).starts_with("--- Phase 2: "));
    // These wait for their turn.
    assert_eq!(take(Event::Began(Phase::Virtio), 60), "");
    assert_eq!(take(Event::Passed(Phase::Virtio, "v".into()), 70), "");
    assert_eq!(take(Event::Ended(Phase::Virtio), 70), "");
    assert_eq!(
        take(Event::Passed(Phase::Serial, "s".into()), 80),
        "  PASS: s (20ms)\n"
    );
    assert_eq!(
        take(Event::Ended(Phase::Serial), 80),
        "\n--- Phase 2b: Check Virtio Console (timeout: 45s) ---\n  PASS: v (10ms)\n\n"
    );
}

#[test]
fn time_counts_from_the_end_of_what_comes_before() {
    let (mut ledger, begin) = ledger();
    let seconds = |ledger: &Ledger, phase| {
        let deadline = ledger.deadline(phase)?;
        Some(deadline.saturating_duration_since(begin).as_secs())
    };
    assert_eq!(seconds(&ledger, Phase::Start), None);
    ledger.take(Event::Began(Phase::Start), begin);
    assert_eq!(seconds(&ledger, Phase::Start), Some(5));
    ledger.take(Event::Ended(Phase::Start), after(begin, 1000));
    for phase in [Phase::Serial, Phase::Virtio, Phase::Services] {
        ledger.take(Event::Began(phase), after(begin, 1000));
    }
    assert_eq!(seconds(&ledger, Phase::Serial), Some(31));
    assert_eq!(seconds(&ledger, Phase::Virtio), None);
    // The virtio console is done before its turn; the services' time begins with the serial console's end.
    ledger.take(Event::Ended(Phase::Virtio), after(begin, 2000));
    assert_eq!(seconds(&ledger, Phase::Services), None);
    ledger.take(Event::Ended(Phase::Serial), after(begin, 9000));
    assert_eq!(seconds(&ledger, Phase::Services), Some(69));
}

#[test]
fn a_test_has_passed_when_every_phase_has() {
    let (mut ledger, begin) = ledger();
    for phase in PHASES {
        ledger.take(Event::Began(phase), begin);
        ledger.take(Event::Passed(phase, "well".into()), begin);
        ledger.take(Event::Ended(phase), after(begin, 5));
    }
    assert!(!ledger.has_failed());
    let report = ledger.close(None, after(begin, 7));
    assert_eq!((report.verdict, report.duration_ms), (Verdict::Passed, 7));
    assert_eq!(report.phases[3].duration_ms, 5);
}

#[test]
fn a_phase_that_was_not_reached_is_skipped_and_fails_the_test() {
    let (mut ledger, begin) = ledger();
    ledger.take(Event::Began(Phase::Start), begin);
    ledger.take(Event::Note(Phase::Start, "on the way".into()), begin);
    let failed = Event::Failed(Phase::Start, "VM process running".into(), "it ended".into());
    let line = ledger.take(failed, after(begin, 3));
    assert_eq!(line, "  FAIL: VM process running: it ended (3ms)\n");
    ledger.take(Event::Ended(Phase::Start), begin);
    assert!(ledger.failed(Phase::Start) && ledger.has_failed());
    let report = ledger.close(Some(Evidence::default()), begin);
    let verdicts: Vec<Verdict> = report.phases.iter().map(|it| it.verdict).collect();
    assert_eq!(verdicts[..2], [Verdict::Failed, Verdict::Skipped]);
    assert_eq!(report.verdict, Verdict::Failed);
}
