//! The lifecycle suite: a guest from its build to its end, phase by phase. [`Ledger`] is the model that the probes
//! report to; it knows no machine.

pub(crate) mod case;
pub(crate) mod console;
pub(crate) mod junit;
pub(crate) mod ledger;
pub(crate) mod limits;
pub(crate) mod phase;
pub(crate) mod questions;
pub(crate) mod report;
pub(crate) mod shell;
pub(crate) mod text;
pub(crate) mod trial;

pub(crate) use ledger::Ledger;
pub(crate) use limits::Limits;
pub(crate) use phase::Phase;
