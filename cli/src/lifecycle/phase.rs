//! The phases of a guest's life, as PCP's suite numbers and names them.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// A phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// The image is there, or is built.
    Build,
    /// The VM is started, under its name.
    Start,
    /// The guest answers on ttyS0.
    Serial,
    /// The guest answers on hvc0.
    Virtio,
    /// The guest's services are active.
    Services,
    /// Its metrics have values, its HTTP endpoints answer.
    Metrics,
    /// The guest bears deeper checks; only `pcp-vmm test` has this phase.
    Depth,
    /// The guest is asked to power off.
    Shutdown,
    /// The VM ends by itself and leaves nothing.
    Exit,
}

impl Phase {
    /// The phases of a lifecycle test, in order.
    pub(crate) const ALL: [Self; 8] = [
        Self::Build,
        Self::Start,
        Self::Serial,
        Self::Virtio,
        Self::Services,
        Self::Metrics,
        Self::Shutdown,
        Self::Exit,
    ];

    /// Its number.
    pub(crate) fn number(self) -> &'static str {
        match self {
            Self::Build => "0",
            Self::Start => "1",
            Self::Serial => "2",
            Self::Virtio => "2b",
            Self::Services => "3",
            Self::Metrics => "4",
            Self::Depth => "4b",
            Self::Shutdown => "5",
            Self::Exit => "6",
        }
    }

    /// Its name on the command line and in tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Start => "start",
            Self::Serial => "serial",
            Self::Virtio => "virtio",
            Self::Services => "services",
            Self::Metrics => "metrics",
            Self::Depth => "depth",
            Self::Shutdown => "shutdown",
            Self::Exit => "exit",
        }
    }

    /// Its title.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Build => "Build VM",
            Self::Start => "Start VM",
            Self::Serial => "Check Serial Console",
            Self::Virtio => "Check Virtio Console",
            Self::Services => "Verify PCP Services",
            Self::Metrics => "Verify PCP Metrics",
            Self::Depth => "Deep Checks",
            Self::Shutdown => "Shutdown",
            Self::Exit => "Wait for Exit",
        }
    }

    /// How long it may take with a guest of `variant`.
    pub(crate) fn limit(self, variant: &str) -> Duration {
        Duration::from_secs(match self {
            Self::Build => 600,
            Self::Depth => 300,
            Self::Start => 5,
            Self::Serial | Self::Metrics | Self::Shutdown => 30,
            Self::Virtio => 45,
            // Grafana takes longer than the rest.
            Self::Services if variant == "grafana" => 90,
            Self::Services | Self::Exit => 60,
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_limits_are_the_default() {
        let limits = Phase::ALL.map(|phase| phase.limit("base").as_secs());
        assert_eq!(limits, [600, 5, 30, 45, 60, 30, 30, 60]);
        assert_eq!(Phase::Services.limit("grafana").as_secs(), 90);
        assert_eq!(Phase::Exit.limit("grafana").as_secs(), 60);
    }

    #[test]
    fn the_word_is_the_name_on_the_command_line_and_in_json() {
        for &phase in Phase::value_variants() {
            assert_eq!(Phase::from_str(phase.word(), false), Ok(phase));
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.word());
        }
    }
}
