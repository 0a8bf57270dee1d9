//! How long each phase may take.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use super::Phase;

/// What services that are slow to start have beside the phase's limit.
const SLOW_SERVICE: Duration = Duration::from_secs(60);

/// The limits of a run of the suite.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    scale: f64,
    chosen: BTreeMap<Phase, Duration>,
}

impl Limits {
    /// The documented limits `scale` times, but for those that are `chosen`.
    pub(crate) fn new(scale: f64, chosen: &[PhaseLimit]) -> Self {
        let chosen = chosen.iter().map(|it| (it.phase, it.limit)).collect();
        Self { scale, chosen }
    }

    /// How long `phase` may take with a guest of `variant`.
    pub(crate) fn of(&self, phase: Phase, variant: &str) -> Duration {
        let chosen = self.chosen.get(&phase).copied();
        chosen.unwrap_or_else(|| self.scaled(phase.limit(variant)))
    }

    /// How long the service `unit` may take to become active.
    pub(crate) fn of_service(&self, unit: &str, variant: &str) -> Duration {
        let slow = unit == "pmlogger" || unit.starts_with("pmie");
        let more = if slow { SLOW_SERVICE } else { Duration::ZERO };
        self.of(Phase::Services, variant) + self.scaled(more)
    }

    /// `time` as long as it is here.
    pub(crate) fn scaled(&self, time: Duration) -> Duration {
        time.mul_f64(self.scale)
    }
}

/// A phase's limit as the user gives it, `PHASE=SECONDS`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PhaseLimit {
    phase: Phase,
    limit: Duration,
}

impl FromStr for PhaseLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "not of the form PHASE=SECONDS, as in services=120".to_owned();
        let (phase, seconds) = text.split_once('=').ok_or_else(form)?;
        let words: Vec<&str> = Phase::value_variants().iter().map(|it| it.word()).collect();
        let words = words.join(", ");
        let phase = Phase::from_str(phase, false)
            .map_err(|_| format!("no phase `{}`: there are {words}", phase.escape_debug()))?;
        let limit = crate::args::seconds(seconds)?;
        Ok(Self { phase, limit })
    }
}

/// A factor from 0.1 to 1000.
pub(crate) fn scale(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok();
    number
        .filter(|number| (0.1..=1000.0).contains(number))
        .ok_or_else(|| "not a number from 0.1 to 1000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(duration: Duration) -> f64 {
        duration.as_secs_f64()
    }

    #[test]
    fn documented_limits_are_scaled_and_chosen_ones_are_not() {
        let limits = Limits::new(2.0, &["services=7.5".parse().unwrap()]);
        assert_eq!(seconds(limits.of(Phase::Virtio, "base")), 90.0);
        assert_eq!(seconds(limits.of(Phase::Services, "grafana")), 7.5);
    }

    #[test]
    fn slow_services_have_a_minute_more() {
        let limits = Limits::new(1.0, &[]);
        assert_eq!(seconds(limits.of_service("pmcd", "base")), 60.0);
        assert_eq!(seconds(limits.of_service("pmlogger", "base")), 120.0);
        assert_eq!(seconds(limits.of_service("pmie-test", "grafana")), 150.0);
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in ["", "services", "services=", "services=x", "exit=-1", "x=1"] {
            assert!(text.parse::<PhaseLimit>().is_err(), "{text}");
        }
        for text in ["", "0", "-1", "nan", "inf", "1e9"] {
            assert!(scale(text).is_err(), "{text}");
        }
        assert_eq!(scale("2.5"), Ok(2.5));
    }
}
