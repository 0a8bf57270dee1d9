//! What a guest is asked about its services, metrics and HTTP endpoints, all in one script, and what its answer
//! says of each.

use std::collections::BTreeMap;
use std::fmt::Write;

use guest::bundle::{Bundle, HttpCheck};

/// How long an HTTP endpoint may take, in seconds.
const HTTP_PATIENCE: u32 = 10;

/// What is still to be found out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Questions {
    /// Units that should be active.
    pub(crate) services: Vec<String>,
    /// Metrics that should have values.
    pub(crate) metrics: Vec<String>,
    /// Endpoints that should answer.
    pub(crate) http: Vec<HttpCheck>,
}

/// What a guest answered: for each thing, nothing if it is as it should be, else why not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    /// By unit.
    pub(crate) services: BTreeMap<String, Option<String>>,
    /// By metric.
    pub(crate) metrics: BTreeMap<String, Option<String>>,
    /// By the endpoint's name.
    pub(crate) http: BTreeMap<String, Option<String>>,
}

impl Questions {
    /// All that the guest of `bundle` is to offer.
    pub(crate) fn of(bundle: &Bundle) -> Self {
        Self {
            services: bundle.services.clone(),
            metrics: bundle.metrics.clone(),
            http: bundle.http_checks.clone(),
        }
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty() && self.metrics.is_empty() && self.http.is_empty()
    }

    /// The script that asks. Units and metrics are names by the bundle's rules, which the shell takes as they are.
    pub(crate) fn script(&self) -> String {
        let mut script = String::new();
        // Writing to a string cannot fail.
        if !self.services.is_empty() {
            let _ = writeln!(
                script,
                "echo @services; systemctl is-active {} 2>&1",
                self.services.join(" ")
            );
        }
        if !self.metrics.is_empty() {
            let _ = writeln!(
                script,
                "echo @metrics; pminfo -f {} 2>&1",
                self.metrics.join(" ")
            );
        }
        for check in &self.http {
            let url = format!("http://localhost:{}{}", check.port, check.path);
            let _ = writeln!(
                script,
                "echo @http {}; curl -s -o /dev/null -m {HTTP_PATIENCE} -w '%{{http_code}}\\n' {}",
                check.name,
                quoted(&url)
            );
        }
        script
    }

    /// What `said`, the script's output, tells.
    pub(crate) fn read(&self, said: &str) -> Answers {
        let mut answers = Answers::default();
        for (head, body) in parts(said) {
            match head.split_once(' ') {
                None if head == "services" => answers.services = self.services(&body),
                None if head == "metrics" => answers.metrics = self.metrics(&body),
                Some(("http", name)) => {
                    answers.http.insert(name.to_owned(), endpoint(&body));
                }
                _ => {}
            }
        }
        answers
    }

    /// `systemctl is-active` says a word for each unit, in their order.
    fn services(&self, body: &str) -> BTreeMap<String, Option<String>> {
        let mut words = body.lines().map(str::trim);
        let state = |unit: &String| {
            let word = words.next().unwrap_or("unknown");
            let why = (word != "active").then(|| format!("it is {word}"));
            (unit.clone(), why)
        };
        self.services.iter().map(state).collect()
    }

    /// `pminfo -f` says a metric's name at the begin of a line, then its values on lines that begin with blanks, or
    /// why there are none.
    fn metrics(&self, body: &str) -> BTreeMap<String, Option<String>> {
        let mut found: BTreeMap<&str, Option<String>> = BTreeMap::new();
        let mut current: Option<&str> = None;
        for line in body.lines().filter(|line| !line.trim().is_empty()) {
            let line = line.strip_prefix("Error: ").unwrap_or(line);
            if line.starts_with(char::is_whitespace) {
                let Some(name) = current else { continue };
                if has_value(line) {
                    found.insert(name, None);
                } else {
                    found
                        .entry(name)
                        .or_insert_with(|| Some(line.trim().to_owned()));
                }
                continue;
            }
            let name = line
                .split_once(": ")
                .map_or(line.trim_end(), |(name, _)| name);
            let named = self.metrics.iter().find(|metric| *metric == name);
            match (named, line.split_once(": "), current) {
                (Some(metric), None, _) => current = Some(metric.as_str()),
                (Some(metric), Some((_, why)), _) => {
                    found.insert(metric, Some(why.trim().to_owned()));
                }
                (None, _, Some(metric)) => {
                    found
                        .entry(metric)
                        .or_insert_with(|| Some(line.trim().to_owned()));
                }
                (None, _, None) => {}
            }
        }
        let last = body.lines().rev().find(|line| !line.trim().is_empty());
        let unsaid = last.unwrap_or("pminfo says nothing").trim();
        let of = |name: &String| {
            let why = found.remove(name.as_str());
            (name.clone(), why.unwrap_or_else(|| Some(unsaid.to_owned())))
        };
        self.metrics.iter().map(of).collect()
    }
}

/// The parts of an output, each after a line that begins with `@`.
fn parts(said: &str) -> Vec<(&str, String)> {
    let mut parts: Vec<(&str, String)> = Vec::new();
    for line in said.lines() {
        match (line.strip_prefix('@'), parts.last_mut()) {
            (Some(head), _) => parts.push((head, String::new())),
            (None, Some((_, body))) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    parts
}

/// Whether a line of `pminfo -f` has a value: `value 7`, after an instance perhaps; not `No value(s) available!`.
fn has_value(line: &str) -> bool {
    line.contains(" value ") && !line.trim_start().starts_with("No value")
}

fn endpoint(body: &str) -> Option<String> {
    match body.lines().next().map_or("", str::trim) {
        "200" => None,
        "" | "000" => Some("nothing answers".to_owned()),
        code => Some(format!("it answers with status {code}")),
    }
}

/// `text` as one word for a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions() -> Questions {
        let names = |all: &[&str]| all.iter().map(|&it| it.to_owned()).collect();
        Questions {
            services: names(&["pmcd", "pmproxy", "grafana"]),
            metrics: names(&[
                "kernel.all.load",
                "mem.physmem",
                "bpf.runq.latency",
                "no.such",
            ]),
            http: vec![HttpCheck {
                name: "pmproxy".into(),
                port: 44322,
                path: "/it's?a=1&b=2".into(),
            }],
        }
    }

    const SAID: &str = "@services\nactive\nactivating\nfailed\n@metrics\n\nkernel.all.load\n    \
        inst [1 or \"1 minute\"] value 0.5\n    inst [5 or \"5 minute\"] value 0.25\n\nmem.physmem\n    \
        value 1014264\n\nbpf.runq.latency\nNo value(s) available!\nError: no.such: Unknown metric name\n\
        @http pmproxy\n200\n";

    #[test]
    fn each_thing_is_told_from_the_others() {
        let answers = questions().read(SAID);
        let services: Vec<_> = answers.services.values().map(Option::as_deref).collect();
        assert_eq!(
            services,
            [Some("it is failed"), None, Some("it is activating")]
        );
        assert_eq!(answers.metrics["kernel.all.load"], None);
        assert_eq!(answers.metrics["mem.physmem"], None);
        let none = answers.metrics["bpf.runq.latency"].as_deref();
        assert_eq!(none, Some("No value(s) available!"));
        assert_eq!(
            answers.metrics["no.such"].as_deref(),
            Some("Unknown metric name")
        );
        assert_eq!(answers.http["pmproxy"], None);
    }

    #[test]
    fn an_answer_that_is_cut_short_or_nonsense_is_no_good_one() {
        for said in [
            "",
            "@",
            "@services\n",
            "@metrics\npminfo: Cannot connect to PMCD: x\n",
            "\n\n@@\n",
        ] {
            let answers = questions().read(said);
            let all = answers.services.values().chain(answers.metrics.values());
            assert!(
                all.chain(answers.http.values()).all(Option::is_some),
                "{said}"
            );
        }
        let said = "@metrics\npminfo: Cannot connect to PMCD on host \"local:\": Connection refused\n@http x\n404\n";
        let answers = questions().read(said);
        assert!(
            answers.metrics["mem.physmem"]
                .as_deref()
                .unwrap()
                .contains("Cannot connect")
        );
        assert_eq!(
            answers.http["x"].as_deref(),
            Some("it answers with status 404")
        );
    }

    #[test]
    fn only_what_is_left_is_asked() {
        assert!(Questions::default().is_empty());
        assert_eq!(Questions::default().script(), "");
        let script = questions().script();
        assert!(
            script.contains("systemctl is-active pmcd pmproxy grafana "),
            "{script}"
        );
        assert!(
            script.contains(r"'http://localhost:44322/it'\''s?a=1&b=2'"),
            "{script}"
        );
    }
}
