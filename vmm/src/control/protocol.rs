//! The words of the control socket: what is asked and what is answered, a line of JSON each
//! ([docs/control.md](../../../docs/control.md)).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::value::MemorySize;
use crate::event::Landmark;

/// The version of the protocol. Within a version, requests, fields and events are only added.
pub const VERSION: u32 = 1;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What runs, and how it is.
    Info {},
    /// What happened to the machine so far and, if wished, what happens from now on.
    Events {
        /// Whether the answer goes on.
        #[serde(default)]
        follow: bool,
    },
    /// To stop the vCPUs where they are.
    Pause {},
    /// To let them go on.
    Resume {},
    /// To press the power button.
    PowerButton {},
    /// To press Ctrl-Alt-Del.
    CtrlAltDel {},
    /// To end the run at once.
    Quit {},
    /// The host ports that lead into the guest.
    Forwards {},
    /// To lead another one into it.
    AddForward {
        /// As in `--forward`.
        forward: String,
    },
    /// To close one; its guest port may be any.
    RemoveForward {
        /// As in `--forward`.
        forward: String,
    },
    /// The balloon's size, or to ask the guest for another one.
    Balloon {
        /// The new size.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<MemorySize>,
    },
    /// The state of the cards' links, or to change it.
    Link {
        /// The new state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<LinkState>,
    },
    /// To make this connection a console: after the answer it carries the console's bytes alone.
    Console {
        /// Which one.
        console: ConsoleName,
        /// How many of the last bytes come first; without it, all that there are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<u64>,
    },
}

/// What is answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Info>,
    /// The host ports that lead into the guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwards: Option<Vec<String>>,
    /// The balloon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balloon: Option<BalloonSize>,
    /// The network cards' links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkState>,
    /// What happened so far; where that goes on, a line for each event follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Event>>,
    /// How many bytes of the console's past come next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<u64>,
}

impl Answer {
    /// It was done.
    #[must_use]
    pub fn done() -> Self {
        Self {
            ok: true,
            ..Self::default()
        }
    }

    /// It was not done.
    #[must_use]
    pub fn refusal(why: impl Into<String>) -> Self {
        Self {
            error: Some(why.into()),
            ..Self::default()
        }
    }
}

/// What runs, and how it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// The version of the protocol.
    pub protocol: u32,
    /// The machine's name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Whether its vCPUs run.
    pub state: State,
    /// How far the guest has come; nothing before its kernel speaks.
    pub phase: Option<Landmark>,
    /// When it came to each phase.
    pub phases: Vec<Passed>,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Guest RAM in bytes.
    pub memory: u64,
    /// The number of vCPUs.
    pub cpus: u8,
    /// Its consoles.
    pub consoles: Vec<ConsoleInfo>,
    /// The host ports that lead into the guest.
    pub forwards: Vec<String>,
    /// The balloon, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balloon: Option<BalloonSize>,
    /// The network cards' links, if there are cards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkState>,
}

/// What a machine does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its vCPUs run.
    #[default]
    Running,
    /// Its vCPUs are stopped.
    Paused,
    /// It was asked to shut down.
    Stopping,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
        })
    }
}

/// A phase of the boot, and when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The phase.
    pub phase: Landmark,
    /// Milliseconds from the start.
    pub after_ms: u64,
}

/// A console of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleInfo {
    /// Its name in requests.
    pub console: ConsoleName,
    /// Its device as Linux names it.
    pub device: String,
    /// Where it leads, as in `--console`.
    pub place: String,
    /// The bytes that the guest put out so far.
    pub output: u64,
}

/// A console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsoleName {
    /// The serial port, ttyS0.
    Serial,
    /// The virtio console, hvc0.
    Virtio,
}

impl ConsoleName {
    /// The device as Linux names it.
    #[must_use]
    pub fn device(self) -> &'static str {
        match self {
            Self::Serial => "ttyS0",
            Self::Virtio => "hvc0",
        }
    }
}

/// What the guest is told of its network cards' links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkState {
    /// The cable is in.
    Up,
    /// The cable is out.
    Down,
}

/// A balloon in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalloonSize {
    /// What the guest was asked for.
    pub target: u64,
    /// What it gave.
    pub actual: u64,
}

/// Something that happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number: 0, 1, and so on. A gap tells of events that are no longer known.
    pub seq: u64,
    /// Milliseconds from the start.
    pub after_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// The guest came further.
    Phase {
        /// How far.
        phase: Landmark,
    },
    /// The vCPUs were stopped or go on, or the guest was asked to shut down.
    State {
        /// What it does now.
        state: State,
    },
    /// The power button was pressed.
    PowerButton {},
    /// Ctrl-Alt-Del was pressed.
    CtrlAltDel {},
    /// A host port leads into the guest.
    ForwardAdded {
        /// As in `--forward`.
        forward: String,
    },
    /// It does so no more.
    ForwardRemoved {
        /// As in `--forward`.
        forward: String,
    },
    /// The guest was asked for another balloon.
    Balloon {
        /// The bytes that it is asked for.
        target: u64,
    },
    /// The links went up or down.
    Link {
        /// What the guest is told.
        state: LinkState,
    },
    /// The run ends; nothing comes after it.
    End {
        /// The reason in one word, as in `run --json`.
        reason: String,
    },
}
