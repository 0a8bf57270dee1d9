//! One test: a guest from its build to its end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use guest::bundle::{Bundle, MANIFEST};

use super::super::image;
use super::super::run::load_bundle;
use super::super::stop::{FORCE, end};
use super::board::Board;
use super::inside::Inquiry;
use super::machine::{Machine, Start, of_bundle};
use super::{consoles, deep, depth, finish};
use crate::args::CommonArgs;
use crate::diagnostic::Diagnostic;
use crate::folders;
use crate::instances::RuntimeDir;
use crate::lifecycle::case::Case;
use crate::lifecycle::report::{CaseReport, Evidence};
use crate::lifecycle::text::{self, About};
use crate::lifecycle::{Ledger, Limits, Phase};
use crate::network::GUEST;
use crate::output::Output;
use crate::process::Process;

/// What all tests of a run have in common.
#[derive(Debug)]
pub(super) struct Suite<'a> {
    pub(super) common: &'a CommonArgs,
    pub(super) runtime: &'a RuntimeDir,
    pub(super) limits: Limits,
    /// More flags of `run`.
    pub(super) flags: &'a [String],
    /// The program that runs the VMs in place of `pcp-vmm run`.
    pub(super) runner: Option<&'a Path>,
    /// The bundle to test in place of the variant's own.
    pub(super) bundle: Option<&'a Path>,
    /// The phases of the tests.
    pub(super) phases: &'a [Phase],
    /// Where what the consoles print is kept.
    pub(super) keep: Option<&'a Path>,
    pub(super) output: Output,
}

impl Suite<'_> {
    /// Runs the test of `case`: its report, and all that there is to show of it.
    pub(super) fn test(&self, case: &Case) -> (CaseReport, String) {
        let ledger = Ledger::new(
            &case.name,
            &case.variant,
            self.phases,
            &self.limits,
            Instant::now(),
        );
        let board = Board::new(ledger, self.output);
        self.title(case, &board);
        let Some(bundle) = self.build(case, &board) else {
            return self.close(board, Some(advice(Phase::Build, &case.name)));
        };
        let Some(mut machine) = self.start(case, &bundle, &board, false) else {
            return self.close(board, Some(advice(Phase::Start, &bundle.hostname)));
        };
        let inquiry = Inquiry {
            machine: &machine,
            bundle: &bundle,
            limits: &self.limits,
            board: &board,
        };
        let mut shell = thread::scope(|scope| {
            let check = |phase| consoles::check(&machine, phase, &board);
            for phase in [Phase::Serial, Phase::Virtio] {
                if self.phases.contains(&phase) {
                    scope.spawn(move || check(phase));
                }
            }
            inquiry.check(&[Phase::Services, Phase::Metrics])
        });
        if self.phases.contains(&Phase::Depth) {
            depth::check(&bundle, shell.as_mut(), &self.limits, &board);
        }
        let failed: Vec<Phase> = self
            .phases
            .iter()
            .copied()
            .filter(|&phase| board.failed(phase))
            .collect();
        let mut evidence = (!failed.is_empty())
            .then(|| finish::evidence(&machine, &bundle, shell.as_mut(), &failed));
        if let Some(folder) = self.keep {
            deep::keep_consoles(&machine, folder);
        }
        finish::shut_down(&machine, shell.as_mut(), &board);
        finish::wait_exit(&mut machine, &board, self.output);
        if evidence.is_none() && board.has_failed() {
            evidence = Some(advice(Phase::Exit, &bundle.hostname));
        }
        self.close(board, evidence)
    }

    fn title(&self, case: &Case, board: &Board) {
        let variant = guest::variant::find(&case.variant).ok();
        let ssh = variant
            .as_ref()
            .and_then(|it| it.forwards.iter().find(|forward| forward.guest == 22));
        let ssh = match ssh {
            _ if case.tap => format!("SSH: {GUEST}:22"),
            Some(forward) => format!("SSH Port: {}", forward.host),
            None => String::new(),
        };
        board.show(&text::title(&About {
            name: &case.name,
            description: variant.as_ref().map_or("", |it| &it.description),
            hostname: variant.as_ref().map_or("", |it| &it.hostname),
            ssh,
        }));
    }

    fn close(&self, board: Board, evidence: Option<Evidence>) -> (CaseReport, String) {
        let (report, mut said) = board.close(evidence);
        let closing = text::closing(&report);
        if !self.output.is_json() && !self.output.is_quiet() {
            // The report is not lost with its reader.
            let _ = self.output.data(&closing);
        }
        said.push_str(&closing);
        (report, said)
    }

    /// Phase 0: the bundle, which is built if it is not there.
    pub(super) fn build(&self, case: &Case, board: &Board) -> Option<Bundle> {
        let phase = Phase::Build;
        board.begin(phase);
        let bundle = self.bundle_of(case, board);
        match &bundle {
            Ok(bundle) => board.pass(phase, format!("VM built ({})", bundle.build.suite)),
            Err(diagnostic) => {
                let causes = [vec![diagnostic.message.clone()], diagnostic.causes.clone()].concat();
                board.fail(phase, "VM built", causes.join(": "));
            }
        }
        board.end(phase);
        bundle.ok()
    }

    fn bundle_of(&self, case: &Case, board: &Board) -> Result<Bundle, Diagnostic> {
        if let Some(dir) = self.bundle {
            return load_bundle(dir);
        }
        let dir = image::dir_of(&case.variant)?;
        if !dir.join(MANIFEST).exists() {
            self.build_image(&case.variant, board)?;
        }
        load_bundle(&dir)
    }

    /// Builds the image in a process of its own, which can be ended when its time is up.
    fn build_image(&self, variant: &str, board: &Board) -> Result<(), Diagnostic> {
        let failed =
            || Diagnostic::failure("image", format!("cannot build the image of `{variant}`"));
        let mut command = Command::new("/proc/self/exe");
        command.args(["image", "build", "--variant", variant]);
        if let Some(folder) = folders::tmp_dir(self.common)? {
            command.arg("--tmp-dir").arg(folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if self.output.is_json() || self.output.is_quiet() {
            command.arg("--quiet");
        }
        let mut child = command.spawn().map_err(|error| failed().because(&error))?;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(failed().cause(format!("it ended with {status}"))),
                Ok(None) if board.late(Phase::Build) => {
                    let process = Process::open(child.id()).ok().flatten();
                    if let Some(process) = process {
                        let _ = process.signal(rustix::process::Signal::TERM);
                        process.wait(Duration::from_secs(5));
                    }
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(failed().cause("it takes too long"));
                }
                Ok(None) => thread::sleep(Duration::from_millis(50)),
                Err(error) => return Err(failed().because(&error)),
            }
        }
    }

    /// Phase 1: the VM, after one that ran under its name has ended.
    pub(super) fn start(
        &self,
        case: &Case,
        bundle: &Bundle,
        board: &Board,
        stays: bool,
    ) -> Option<Machine> {
        let phase = Phase::Start;
        board.begin(phase);
        match of_bundle(self.runtime, bundle) {
            Ok(old) => {
                for entry in old {
                    let ended = end(&entry, &FORCE, self.output);
                    match ended {
                        Ok(_) => {
                            board
                                .note(phase, format!("{} ran already and was ended", entry.name()));
                        }
                        Err(diagnostic) => board.note(phase, diagnostic.message),
                    }
                }
            }
            Err(diagnostic) => board.note(phase, diagnostic.message),
        }
        let start = Start {
            case,
            bundle,
            common: self.common,
            flags: self.flags,
            runner: self.runner,
            stays,
        };
        let started = Machine::start(&start, self.runtime, &|| board.late(phase));
        match &started {
            Ok(machine) => board.pass(phase, format!("VM process running (PID: {})", machine.pid)),
            Err(why) => board.fail(phase, "VM process running", why.as_str()),
        }
        board.end(phase);
        started.ok()
    }
}

/// What to try, where there is nothing else to show.
fn advice(phase: Phase, name: &str) -> Evidence {
    Evidence {
        hints: vec![finish::hint(phase, name)],
        ..Evidence::default()
    }
}
