//! The deeper checks, one after the other over one connection.

use std::time::{Duration, Instant};

use guest::bundle::Bundle;

use super::board::Board;
use super::machine::rest;
use crate::lifecycle::shell::Shell;
use crate::lifecycle::trial::Trial;
use crate::lifecycle::{Limits, Phase};

/// How long one answer may take, at the documented speed.
const ANSWER: Duration = Duration::from_secs(60);
/// The time between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Sees that the guest is as it should be in depth too.
pub(super) fn check(bundle: &Bundle, shell: Option<&mut Shell>, limits: &Limits, board: &Board) {
    let phase = Phase::Depth;
    board.begin(phase);
    match shell {
        None => board.fail(phase, "Deep checks", "there is no way in"),
        Some(shell) => {
            for trial in Trial::of(bundle) {
                board.waiting(&trial.name);
                match attempt(&trial, shell, limits, board) {
                    Ok(found) if found.is_empty() => board.pass(phase, trial.name),
                    Ok(found) => board.pass(phase, format!("{}: {found}", trial.name)),
                    Err(why) => board.fail(phase, trial.name, why),
                }
            }
        }
    }
    board.end(phase);
}

/// Tries until it is as it should be, or patience ends.
fn attempt(
    trial: &Trial,
    shell: &mut Shell,
    limits: &Limits,
    board: &Board,
) -> Result<String, String> {
    let begin = Instant::now();
    let patience = limits.scaled(trial.patience);
    loop {
        if board.late(Phase::Depth) {
            return Err("it was not asked in time".to_owned());
        }
        let said = shell.ask(&trial.script, limits.scaled(ANSWER));
        let said = said.map_err(|error| error.to_string())?;
        match (trial.judge)(&said) {
            Err(_) if begin.elapsed() < patience => rest(Instant::now(), PAUSE),
            judged => return judged,
        }
    }
}
