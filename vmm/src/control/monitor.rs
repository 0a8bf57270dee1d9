//! A client that speaks to us as to QEMU: what it sends is cut into requests, and events are told in its language.

use super::Served;
use super::hmp;
use super::protocol::Event;
use super::qmp::Qmp;
use crate::config::MonitorLanguage;

/// What a client's words led to.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// What is said to it.
    pub(super) bytes: Vec<u8>,
    /// It is told of events from this number on.
    pub(super) follows: Option<u64>,
}

/// One side of such a conversation.
#[derive(Debug)]
pub(super) enum Monitor {
    Qmp(Qmp),
    Hmp,
}

impl Monitor {
    pub(super) fn new(language: MonitorLanguage) -> Self {
        match language {
            MonitorLanguage::Qmp => Self::Qmp(Qmp::default()),
            MonitorLanguage::Hmp => Self::Hmp,
        }
    }

    /// What we say first.
    pub(super) fn greeting(&self) -> Vec<u8> {
        match self {
            Self::Qmp(_) => Qmp::greeting(),
            Self::Hmp => hmp::greeting(),
        }
    }

    /// Takes the next request out of what came, and answers it; none if none is complete.
    pub(super) fn heed(&mut self, pending: &mut Vec<u8>, served: &Served) -> Option<Reply> {
        match self {
            Self::Qmp(qmp) => qmp.heed(pending, served),
            Self::Hmp => {
                let line = take_line(pending)?;
                let line = String::from_utf8_lossy(&line);
                Some(Reply {
                    bytes: hmp::talk(line.trim(), served),
                    follows: None,
                })
            }
        }
    }

    /// What is said of an event; nothing of what QEMU has no event for.
    pub(super) fn event(&self, event: &Event, served: &Served) -> Vec<u8> {
        match self {
            Self::Qmp(_) => Qmp::event(event, served),
            Self::Hmp => Vec::new(),
        }
    }
}

/// Takes a line with its end.
pub(super) fn take_line(pending: &mut Vec<u8>) -> Option<Vec<u8>> {
    let at = pending.iter().position(|&byte| byte == b'\n')?;
    let rest = pending.split_off(at + 1);
    Some(std::mem::replace(pending, rest))
}
