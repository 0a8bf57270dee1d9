//! Phases 5 and 6: the guest powers off, and the VM ends; and what is found out when a test fails.

use std::time::Duration;

use guest::bundle::Bundle;

use super::board::Board;
use super::inside::ANSWER;
use super::machine::{Ended, Machine};
use crate::lifecycle::phase::Phase;
use crate::lifecycle::report::{Evidence, Journal};
use crate::lifecycle::shell::{Shell, ShellError};
use crate::output::Output;
use crate::printable::Printable;

/// How many lines of consoles and journals are shown.
const LINES: usize = 20;
/// How much of a console's past is read.
const CONSOLE_TAIL: u64 = 16 << 10;

/// Asks the guest to power off, over SSH, or by its power button where there is no way in.
pub(super) fn shut_down(machine: &Machine, shell: Option<&mut Shell>, board: &Board) {
    let phase = Phase::Shutdown;
    board.begin(phase);
    let limit = board.left(phase).unwrap_or(ANSWER);
    let by_ssh = match shell {
        Some(shell) => match shell.ask("systemctl poweroff", limit) {
            Ok(said) if said.status == 0 => Ok(()),
            // The guest may close the connection before it answers.
            Err(ShellError::Over { .. }) => Ok(()),
            Ok(said) => Err(said.text.trim().to_owned()),
            Err(error) => Err(error.to_string()),
        },
        None => Err("there is no way in".to_owned()),
    };
    match by_ssh {
        Ok(()) => board.pass(phase, "Shutdown command sent"),
        Err(why) => {
            board.note(phase, format!("over SSH: {why}"));
            match machine.press_power_button() {
                Ok(()) => board.pass(phase, "Power button pressed"),
                Err(why) => board.fail(phase, "Power button pressed", why),
            }
        }
    }
    board.end(phase);
}

/// Waits for the end of the VM, and ends it if it does not come.
pub(super) fn wait_exit(machine: &mut Machine, board: &Board, output: Output) {
    let phase = Phase::Exit;
    board.begin(phase);
    let limit = board.left(phase).unwrap_or(Duration::ZERO);
    if machine.process.wait(limit) {
        match machine.ended() {
            Ended::Well => board.pass(phase, "VM exited cleanly"),
            Ended::Otherwise(how) => board.fail(phase, "VM exited cleanly", how),
        }
    } else {
        machine.force(output);
        board.fail(
            phase,
            "VM exited cleanly",
            "it did not end in time and was killed",
        );
    }
    board.end(phase);
}

/// What the guest shows of its failure.
pub(super) fn evidence(
    machine: &Machine,
    bundle: &Bundle,
    shell: Option<&mut Shell>,
    failed: &[Phase],
) -> Evidence {
    let mut found = Evidence {
        console: last_lines(machine),
        ..Evidence::default()
    };
    if let Some(shell) = shell {
        for unit in &bundle.services {
            let script = format!(
                "systemctl is-active --quiet {unit} || {{ systemctl status --no-pager -n 0 {unit}; \
                 journalctl --no-pager -q -b -n {LINES} -u {unit}; }}"
            );
            let Ok(said) = shell.ask(&script, ANSWER) else {
                break;
            };
            if !said.text.trim().is_empty() {
                found.journals.push(Journal {
                    unit: unit.clone(),
                    lines: printable_lines(said.text.as_bytes()),
                });
            }
        }
    }
    found.hints = failed
        .iter()
        .map(|&phase| hint(phase, &bundle.hostname))
        .collect();
    found.hints.dedup();
    found
}

/// The last lines of the console that has printed most.
fn last_lines(machine: &Machine) -> Vec<String> {
    use std::io::Read;
    let Ok(attached) = machine.attach(None, Some(CONSOLE_TAIL)) else {
        return Vec::new();
    };
    let mut past = attached.read;
    let more = attached.past.saturating_sub(past.len() as u64);
    let patience = attached
        .stream
        .set_read_timeout(Some(Duration::from_secs(2)));
    if patience.is_ok() {
        // What does not come is not shown.
        let _ = attached.stream.take(more).read_to_end(&mut past);
    }
    printable_lines(&past)
}

/// The last lines of what a guest wrote, without what could command a terminal.
fn printable_lines(text: &[u8]) -> Vec<String> {
    let text = Printable::default().filter(text);
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let from = lines.len().saturating_sub(LINES);
    let last = lines.get(from..).unwrap_or_default();
    last.iter().map(|&line| line.to_owned()).collect()
}

/// What to try when `phase` of the VM `name` failed.
pub(super) fn hint(phase: Phase, name: &str) -> String {
    match phase {
        Phase::Build => "`pcp-vmm image build -v` shows what the tools say".to_owned(),
        Phase::Start => "`pcp-vmm run` of the same guest says what to do; `pcp-vmm doctor` tells what this machine lacks".to_owned(),
        Phase::Serial | Phase::Virtio => format!(
            "start it with `pcp-vmm lifecycle phase start`, then use `pcp-vmm console {name}`; \
             `--timeout-scale` gives a slow machine more time"
        ),
        Phase::Services | Phase::Metrics | Phase::Depth => format!(
            "start it with `pcp-vmm lifecycle phase start`, then look around with `pcp-vmm ssh {name}`; \
             `--timeout {phase}=SECONDS` gives it more time"
        ),
        Phase::Shutdown | Phase::Exit => {
            format!(
                "`pcp-vmm logs {name}` shows what holds the guest's shutdown up; `--timeout exit=SECONDS`"
            )
        }
    }
}
