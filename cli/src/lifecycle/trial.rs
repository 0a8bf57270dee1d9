//! The deeper checks of a guest: what is asked, and what its answer is worth.

use std::time::Duration;

use guest::bundle::Bundle;

use super::shell::Said;

/// The fewest metrics of a whole PCP.
const METRICS_MIN: usize = 1000;
/// How far two exporters may be apart, as a share of the larger value.
const PARITY: f64 = 0.1;
/// Below this difference loads are alike: both programs round them to a hundredth, and may read them a moment apart.
const LOAD_STEP: f64 = 0.05;
/// How long a rule of pmie's may take to be seen.
const ALERTS: Duration = Duration::from_secs(45);
/// For what is as it should be at once, or not.
const ONCE: Duration = Duration::ZERO;

/// What an answer is worth: what was found, or why it is not as it should be.
type Judgement = Result<String, String>;

/// A check.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    /// What is checked.
    pub(crate) name: String,
    /// The script that asks.
    pub(crate) script: String,
    /// How long it is tried again.
    pub(crate) patience: Duration,
    /// What its answer is worth.
    pub(crate) judge: fn(&Said) -> Judgement,
}

impl Trial {
    fn new(name: &str, script: String, patience: Duration, judge: fn(&Said) -> Judgement) -> Self {
        Self {
            name: name.to_owned(),
            script,
            patience,
            judge,
        }
    }

    /// The checks of the guest of `bundle`.
    pub(crate) fn of(bundle: &Bundle) -> Vec<Self> {
        let has = |unit: &str| bundle.services.iter().any(|it| it == unit);
        let mut trials = vec![Self::new(
            "number of metrics",
            "pminfo | wc -l".to_owned(),
            ONCE,
            count,
        )];
        let listening = [("pmcd", 44321), ("pmproxy", 44322)];
        for (unit, port) in listening.into_iter().filter(|(unit, _)| has(unit)) {
            trials.push(Self::new(
                &format!("{unit} listens at port {port}"),
                format!("ss -Htln 'sport = :{port}'"),
                ONCE,
                something,
            ));
            trials.push(Self::new(
                &format!("journal of {unit} has no errors"),
                format!("journalctl -q --no-pager -b -p err -u {unit}"),
                ONCE,
                nothing,
            ));
        }
        trials.push(Self::new(
            "pcp dstat",
            "pcp dstat --nocolor 1 2".to_owned(),
            ONCE,
            rows,
        ));
        if has("prometheus-node-exporter") {
            trials.push(Self::new(
                "parity of kernel.all.load and node_load1",
                "pminfo -f kernel.all.load; curl -s http://localhost:9100/metrics | grep '^node_load1 '"
                    .to_owned(),
                // The load may change between the two.
                Duration::from_secs(10),
                parity,
            ));
        }
        if has("pmie-test") {
            trials.push(Self::new(
                "pmie raises alerts",
                "cat /var/log/pcp/pmie/alerts.log".to_owned(),
                ALERTS,
                alerts,
            ));
        }
        trials
    }
}

/// The last line of an answer, as a reason.
fn last(said: &Said) -> String {
    let last = said.text.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(
        || format!("status {} without a word", said.status),
        |line| line.trim().to_owned(),
    )
}

fn count(said: &Said) -> Judgement {
    let count = said.text.trim().parse::<usize>().map_err(|_| last(said))?;
    if count >= METRICS_MIN {
        Ok(count.to_string())
    } else {
        Err(format!("{count}, fewer than {METRICS_MIN}"))
    }
}

fn something(said: &Said) -> Judgement {
    let lines = said.text.lines().filter(|line| line.contains("LISTEN"));
    match (said.status, lines.count()) {
        (0, 1..) => Ok(String::new()),
        (0, 0) => Err("nobody listens".to_owned()),
        _ => Err(last(said)),
    }
}

fn nothing(said: &Said) -> Judgement {
    // journalctl ends with 1 where it has no line to show.
    if said.text.trim().is_empty() {
        Ok(String::new())
    } else {
        Err(last(said))
    }
}

/// Two rows of numbers under the headings.
fn rows(said: &Said) -> Judgement {
    let is_row = |line: &&str| {
        let mut cells = line.split(['|', ' ', ':']).filter(|cell| !cell.is_empty());
        cells
            .next()
            .is_some_and(|cell| cell.starts_with(|c: char| c.is_ascii_digit()))
    };
    let rows = said.text.lines().filter(is_row).count();
    if said.status == 0 && rows >= 2 {
        Ok(format!("{rows} rows"))
    } else {
        Err(last(said))
    }
}

/// The load of a minute by PCP and by node_exporter.
fn parity(said: &Said) -> Judgement {
    let number = |line: &str| {
        line.split_ascii_whitespace()
            .next_back()?
            .parse::<f64>()
            .ok()
    };
    let of = |mark: &str| {
        said.text
            .lines()
            .find(|line| line.contains(mark))
            .and_then(number)
    };
    let (Some(ours), Some(theirs)) = (of("[1 or \"1 minute\"]"), of("node_load1 ")) else {
        return Err(last(said));
    };
    let apart = (ours - theirs).abs();
    let words = format!("{ours:.2} and {theirs:.2}");
    if apart <= LOAD_STEP || apart <= PARITY * ours.max(theirs) {
        Ok(words)
    } else {
        Err(format!(
            "{words} are more than {:.0} % apart",
            PARITY * 100.0
        ))
    }
}

fn alerts(said: &Said) -> Judgement {
    match said
        .text
        .lines()
        .filter(|line| line.contains("[ALERT]"))
        .count()
    {
        0 => Err(last(said)),
        count => Ok(count.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, status: i32) -> Said {
        Said {
            text: text.to_owned(),
            status,
        }
    }

    #[test]
    fn a_whole_pcp_has_a_thousand_metrics() {
        assert_eq!(count(&said("2704\n", 0)).unwrap(), "2704");
        assert_eq!(
            count(&said("999\n", 0)).unwrap_err(),
            "999, fewer than 1000"
        );
        assert_eq!(count(&said("pminfo: not found\n0\n0", 0)).unwrap_err(), "0");
    }

    #[test]
    fn somebody_listens_and_the_journal_is_empty() {
        assert!(something(&said("LISTEN 0 5 0.0.0.0:44321 0.0.0.0:*\n", 0)).is_ok());
        assert!(something(&said("", 0)).is_err());
        assert!(something(&said("sh: ss: not found\n", 127)).is_err());
        assert!(nothing(&said("\n", 1)).is_ok());
        assert_eq!(
            nothing(&said("x\npmcd[1]: broken\n", 0)).unwrap_err(),
            "pmcd[1]: broken"
        );
    }

    #[test]
    fn dstat_prints_rows_of_numbers() {
        let good = "----total-usage---- -dsk/total-\nusr sys idl wai stl| read  writ\n  1   2  97   0   0|   0     0 \n\
            \x20 0   1  99   0   0|4096B    0 \n";
        assert_eq!(rows(&said(good, 0)).unwrap(), "2 rows");
        assert!(rows(&said(good, 1)).is_err());
        assert_eq!(
            rows(&said("usr sys\npcp-dstat: Cannot connect\n", 0)).unwrap_err(),
            "pcp-dstat: Cannot connect"
        );
    }

    #[test]
    fn loads_are_compared_within_a_tenth() {
        let both = |ours: &str, theirs: &str| {
            let text = format!(
                "\nkernel.all.load\n    inst [1 or \"1 minute\"] value {ours}\n    inst [5 or \"5 minute\"] value 9\n\
                 node_load1 {theirs}\n"
            );
            parity(&said(&text, 0))
        };
        assert_eq!(both("2.0", "1.9").unwrap(), "2.00 and 1.90");
        assert!(both("2.0", "1.7").is_err());
        // Near nothing a tenth is less than what is shown.
        assert!(both("0.03", "0").is_ok());
        assert!(both("0.3", "0").is_err());
        assert!(both("2.0", "much").is_err());
    }

    #[test]
    fn alerts_are_counted() {
        let text = "2026-02-11T22:27:43+00:00 [ALERT] CPU elevated\n";
        assert_eq!(alerts(&said(text, 0)).unwrap(), "1");
        let none = said(
            "cat: /var/log/pcp/pmie/alerts.log: No such file or directory\n",
            1,
        );
        assert!(alerts(&none).unwrap_err().contains("No such file"));
    }
}
