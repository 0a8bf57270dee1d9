//! A monitor as users write it: `qmp|hmp=PATH[,connect]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::value::{ValueError, pieces};

/// A socket by which programs made for QEMU manage the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MonitorSpec {
    /// What is spoken.
    pub language: MonitorLanguage,
    /// The Unix socket.
    pub path: PathBuf,
    /// Whether somebody else listens there and we connect at the start.
    pub connects: bool,
}

/// What is spoken on a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MonitorLanguage {
    /// QEMU's Machine Protocol: JSON.
    Qmp,
    /// QEMU's monitor for people: a prompt, and lines.
    Hmp,
}

impl FromStr for MonitorSpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let form = || ValueError::Form {
            text: text.to_owned(),
            form: "a monitor: qmp=PATH[,connect] or hmp=PATH[,connect]",
        };
        let pieces = pieces(text);
        let (place, connects) = match pieces.as_slice() {
            [place] => (place, false),
            [place, word] if word == "connect" => (place, true),
            _ => return Err(form()),
        };
        let (language, path) = match place.split_once('=') {
            Some(("qmp", path)) => (MonitorLanguage::Qmp, path),
            Some(("hmp", path)) => (MonitorLanguage::Hmp, path),
            _ => return Err(form()),
        };
        if path.is_empty() {
            return Err(form());
        }
        Ok(Self {
            language,
            path: path.into(),
            connects,
        })
    }
}

impl fmt::Display for MonitorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let language = match self.language {
            MonitorLanguage::Qmp => "qmp",
            MonitorLanguage::Hmp => "hmp",
        };
        let path = self.path.to_string_lossy().replace(',', ",,");
        let connects = if self.connects { ",connect" } else { "" };
        write!(f, "{language}={path}{connects}")
    }
}

impl TryFrom<String> for MonitorSpec {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl From<MonitorSpec> for String {
    fn from(monitor: MonitorSpec) -> Self {
        monitor.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_reads_as_it_is_written() {
        for text in ["qmp=/a", "hmp=b,connect", "qmp=/a,,b"] {
            let monitor: MonitorSpec = text.parse().unwrap();
            assert_eq!(monitor.to_string(), text);
        }
        for text in [
            "",
            "qmp",
            "qmp=",
            "vnc=/a",
            "qmp=/a,wait",
            "qmp=/a,connect,x",
        ] {
            assert!(text.parse::<MonitorSpec>().is_err(), "{text}");
        }
    }
}
