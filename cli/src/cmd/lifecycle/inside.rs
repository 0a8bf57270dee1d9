//! Phases 3 and 4: the guest's services, metrics and HTTP endpoints, all asked over one connection.

use std::time::{Duration, Instant};

use guest::bundle::Bundle;

use super::board::Board;
use super::machine::{Machine, rest};
use crate::lifecycle::questions::{Answers, Questions};
use crate::lifecycle::shell::{Shell, ShellError};
use crate::lifecycle::{Limits, Phase};
use crate::ssh::greets;

/// The time between two questions.
const PAUSE: Duration = Duration::from_millis(300);
/// How long a guest may take for an answer, at the documented speed.
pub(super) const ANSWER: Duration = Duration::from_secs(30);

/// What is asked of a guest.
#[derive(Debug)]
pub(super) struct Inquiry<'a> {
    pub(super) machine: &'a Machine,
    pub(super) bundle: &'a Bundle,
    pub(super) limits: &'a Limits,
    pub(super) board: &'a Board,
}

/// What is still open, with what was seen last of each thing.
#[derive(Debug)]
struct Open {
    questions: Questions,
    seen: Answers,
}

impl Inquiry<'_> {
    /// Sees that all is as the bundle promises, in those of the two phases that are wanted; the shell, for what comes
    /// next.
    pub(super) fn check(&self, phases: &[Phase]) -> Option<Shell> {
        let mut questions = Questions::of(self.bundle);
        if !phases.contains(&Phase::Services) {
            questions.services.clear();
        }
        if !phases.contains(&Phase::Metrics) {
            questions.metrics.clear();
            questions.http.clear();
        }
        for &phase in phases {
            self.board.begin(phase);
            let nothing = match phase {
                Phase::Services => questions.services.is_empty(),
                _ => questions.metrics.is_empty() && questions.http.is_empty(),
            };
            if nothing {
                self.board.pass(phase, "the bundle promises none");
            }
        }
        let first = phases.first().copied().unwrap_or(Phase::Services);
        let mut open = Open {
            questions,
            seen: Answers::default(),
        };
        let mut shell = None;
        let mut said = false;
        let mut done: Vec<Phase> = Vec::new();
        loop {
            let begin = Instant::now();
            let looked = self.look(&mut shell, &mut open, first, &mut said);
            let trouble = looked.err();
            let trouble = trouble.unwrap_or_else(|| "it was not asked in time".to_owned());
            let gone = self.machine.has_ended();
            for &phase in phases {
                if !done.contains(&phase) && self.closes(&mut open, phase, gone, &trouble) {
                    self.board.end(phase);
                    done.push(phase);
                }
            }
            if done.len() == phases.len() {
                return shell;
            }
            self.board.waiting(&open.names());
            rest(begin, PAUSE);
        }
    }

    /// Asks once what is open, over a new connection if need be.
    fn look(
        &self,
        shell: &mut Option<Shell>,
        open: &mut Open,
        first: Phase,
        said: &mut bool,
    ) -> Result<(), String> {
        let connected = match shell {
            Some(shell) => shell,
            None => {
                let new = connect(self.machine, self.limits)?;
                if !*said {
                    self.board.note(first, "SSH connected");
                    *said = true;
                }
                shell.insert(new)
            }
        };
        if open.questions.is_empty() {
            return Ok(());
        }
        let limit = self.limits.scaled(ANSWER);
        match connected.ask(&open.questions.script(), limit) {
            Ok(answer) => {
                open.seen = open.questions.read(&answer.text);
                self.settle(open);
                Ok(())
            }
            Err(error) => {
                *shell = None;
                Err(error.to_string())
            }
        }
    }

    /// Tells what is as it should be, and asks no more for it.
    fn settle(&self, open: &mut Open) {
        let Open { questions, seen } = open;
        questions.services.retain(|unit| {
            let good = seen.services.get(unit) == Some(&None);
            if good {
                self.board.pass(Phase::Services, format!("{unit} active"));
            }
            !good
        });
        questions.metrics.retain(|metric| {
            let good = seen.metrics.get(metric) == Some(&None);
            if good {
                self.board.pass(Phase::Metrics, metric.as_str());
            }
            !good
        });
        questions.http.retain(|check| {
            let good = seen.http.get(&check.name) == Some(&None);
            if good {
                let text = format!("HTTP {} (port {})", check.name, check.port);
                self.board.pass(Phase::Metrics, text);
            }
            !good
        });
    }

    /// Whether `phase` is over: nothing is open in it, or its time is up (or the VM `gone`), which fails what is open.
    fn closes(&self, open: &mut Open, phase: Phase, gone: bool, trouble: &str) -> bool {
        let trouble = if gone { "the VM has ended" } else { trouble };
        let Open { questions, seen } = open;
        if phase == Phase::Services {
            let variant = &self.bundle.variant;
            questions.services.retain(|unit| {
                let limit = self.limits.of_service(unit, variant);
                let over = gone || self.board.beyond(phase, limit);
                if over {
                    let why = seen.services.get(unit).cloned().flatten();
                    let why = why.unwrap_or_else(|| trouble.to_owned());
                    self.board.fail(phase, format!("{unit} active"), why);
                }
                !over
            });
            return questions.services.is_empty();
        }
        if !(gone || self.board.late(phase)) {
            return questions.metrics.is_empty() && questions.http.is_empty();
        }
        for metric in questions.metrics.drain(..) {
            let why = seen.metrics.get(&metric).cloned().flatten();
            self.board
                .fail(phase, metric, why.unwrap_or_else(|| trouble.to_owned()));
        }
        for check in questions.http.drain(..) {
            let why = seen.http.get(&check.name).cloned().flatten();
            let text = format!("HTTP {} (port {})", check.name, check.port);
            self.board
                .fail(phase, text, why.unwrap_or_else(|| trouble.to_owned()));
        }
        true
    }
}

impl Open {
    fn names(&self) -> String {
        let questions = &self.questions;
        let http = questions.http.iter().map(|check| &check.name);
        let all = questions
            .services
            .iter()
            .chain(&questions.metrics)
            .chain(http);
        all.map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// A shell in the guest, once its SSH server greets.
pub(super) fn connect(machine: &Machine, limits: &Limits) -> Result<Shell, String> {
    let login = machine.login()?;
    if let Some(why) = greets(login.address()) {
        return Err(format!("SSH not available: {why}"));
    }
    let shell = Shell::open(login.command(&["sh".to_owned()]));
    let mut shell = shell.map_err(|error| match &error {
        ShellError::Client(source) => format!("{error}: {source}; `apt install openssh-client`"),
        _ => error.to_string(),
    })?;
    // Whether the guest lets us in is known with the first answer.
    let first = shell.ask(":", limits.scaled(ANSWER));
    first.map_err(|error| format!("SSH not available: {error}"))?;
    Ok(shell)
}
