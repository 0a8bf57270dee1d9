//! A declared set of VMs: the file that says which, and what has to be done to get there.

use std::collections::{BTreeMap, BTreeSet};

use clap::parser::ValueSource;
use guest::variant;
use serde::{Deserialize, Serialize};
use toml::Value;
use vmm::config::{NAME_HINT, is_name};

use crate::args;
use crate::nearest::nearest;

/// A VM as it is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// The flags of `run`.
    pub(crate) run: Vec<String>,
    /// The VMs that are started before it.
    pub(crate) after: Vec<String>,
}

/// The VMs of a file, by name.
pub(crate) type Wishes = BTreeMap<String, Wanted>;

/// What leads to the wanted state.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Steps {
    /// To be stopped.
    pub(crate) stop: Vec<String>,
    /// To be started: those of a list after those of the lists before it.
    pub(crate) start: Vec<Vec<String>>,
    /// Left alone.
    pub(crate) keep: Vec<String>,
}

/// Reads a file.
///
/// # Errors
/// Every problem that it has.
pub(crate) fn parse(text: &str) -> Result<Wishes, Vec<String>> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| vec![error.to_string()])?;
    let mut problems = Vec::new();
    let mut wishes = Wishes::new();
    for (key, value) in &table {
        match (key.as_str(), value) {
            ("vm", Value::Table(vms)) => {
                for (name, vm) in vms {
                    problems.extend(unfit_name(name));
                    let wanted = wanted(name, vm, &mut problems);
                    wishes.insert(name.clone(), wanted);
                }
            }
            ("vm", _) => problems.push("`vm` is no table of VMs".to_owned()),
            (other, _) => problems.push(format!(
                "there is no `{}`; VMs are tables `[vm.NAME]`",
                other.escape_debug()
            )),
        }
    }
    for (name, vm) in &wishes {
        for other in vm.after.iter().filter(|it| !wishes.contains_key(*it)) {
            problems.push(format!(
                "vm.{name}.after: there is no VM `{}`",
                other.escape_debug()
            ));
        }
    }
    if problems.is_empty() && order(&wishes, &wishes.keys().cloned().collect()).is_none() {
        problems.push("VMs are to be started after each other in a circle".to_owned());
    }
    if problems.is_empty() {
        Ok(wishes)
    } else {
        Err(problems)
    }
}

fn wanted(name: &str, vm: &Value, problems: &mut Vec<String>) -> Wanted {
    let mut wanted = Wanted::default();
    let Value::Table(fields) = vm else {
        problems.push(format!("vm.{name} is no table"));
        return wanted;
    };
    for (key, value) in fields {
        let list = match key.as_str() {
            "run" => &mut wanted.run,
            "after" => &mut wanted.after,
            other => {
                problems.push(format!(
                    "vm.{name} has no `{}`; it has `run` and `after`",
                    other.escape_debug()
                ));
                continue;
            }
        };
        let words = value
            .as_array()
            .map(|words| words.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
        match words.flatten() {
            Some(words) => *list = words.into_iter().map(str::to_owned).collect(),
            None => problems.push(format!("vm.{name}.{key} is no list of words")),
        }
    }
    problems.extend(unfit_flags(&wanted.run).map(|why| format!("vm.{name}.run: {why}")));
    wanted
}

/// Why `name` is no name of a VM here.
pub(crate) fn unfit_name(name: &str) -> Option<String> {
    (!is_name(name)).then(|| format!("`{}` is no name; {NAME_HINT}", name.escape_debug()))
}

/// What a service or a deployment says of a VM itself, by the parser's names.
const TAKEN: [&str; 6] = [
    "name",
    "daemon",
    "pid_file",
    "dry_run",
    "end_with_parent",
    "detached",
];

/// Why `flags` are none that a VM is started with here.
pub(crate) fn unfit_flags(flags: &[String]) -> Option<String> {
    let words = ["pcp-vmm", "run"]
        .into_iter()
        .chain(flags.iter().map(String::as_str));
    let matches = match args::command_of_run().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            return Some(first.strip_prefix("error: ").unwrap_or(first).to_owned());
        }
    };
    let run = matches.subcommand_matches("run")?;
    // Only the parser knows which words are flags: one may be a letter among others, or another's value.
    let is_given = |id: &&&str| run.value_source(id) == Some(ValueSource::CommandLine);
    if let Some(taken) = TAKEN.iter().find(is_given) {
        let flag = taken.replace('_', "-");
        return Some(format!("`--{flag}` is given by the service itself"));
    }
    let variant = is_given(&&"variant").then(|| run.get_one::<String>("variant"));
    unknown_variant(variant??)
}

/// Why no guest is of the variant `name`.
fn unknown_variant(name: &str) -> Option<String> {
    let error = variant::find(name).err()?;
    let known = variant::all().unwrap_or_default();
    let meant = nearest(name, known.iter().map(|it| it.name.as_str()));
    let meant = meant.map_or_else(String::new, |it| format!("; did you mean `{it}`?"));
    Some(format!("{error}{meant}"))
}

/// What leads from what runs, and was `deployed`, to what is wanted.
pub(crate) fn steps(wishes: &Wishes, deployed: &Wishes, running: &BTreeSet<String>) -> Steps {
    let is_kept = |name: &String| {
        running.contains(name)
            && deployed.get(name).map(|it| &it.run) == wishes.get(name).map(|it| &it.run)
    };
    let keep: Vec<String> = wishes
        .keys()
        .filter(|&name| is_kept(name))
        .cloned()
        .collect();
    let goes = |name: &&String| running.contains(*name) && !keep.contains(name);
    let stop = deployed.keys().filter(goes).cloned().collect();
    let fresh: BTreeSet<String> = wishes
        .keys()
        .filter(|it| !keep.contains(it))
        .cloned()
        .collect();
    Steps {
        stop,
        // Files with circles are refused.
        start: order(wishes, &fresh).unwrap_or_default(),
        keep,
    }
}

/// `names` in lists, each after those that its VMs wait for; `None` if they wait in a circle.
fn order(wishes: &Wishes, names: &BTreeSet<String>) -> Option<Vec<Vec<String>>> {
    let mut left = names.clone();
    let mut lists = Vec::new();
    while !left.is_empty() {
        let waits = |name: &&String| {
            wishes
                .get(*name)
                .is_some_and(|it| it.after.iter().any(|other| left.contains(other)))
        };
        let next: Vec<String> = left.iter().filter(|name| !waits(name)).cloned().collect();
        if next.is_empty() {
            return None;
        }
        left.retain(|name| !next.contains(name));
        lists.push(next);
    }
    Some(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[vm.web]\nrun = [\"--variant\", \"eval\"]\nafter = [\"db\"]\n\
        [vm.db]\nrun = [\"--variant\", \"base\"]\n[vm.other]\n";

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&it| it.to_owned()).collect()
    }

    #[test]
    fn what_is_missing_is_started_in_order_and_what_is_not_wanted_any_more_is_stopped() {
        let wishes = parse(FILE).unwrap();
        let all = steps(&wishes, &Wishes::new(), &set(&["stranger"]));
        assert_eq!(
            all.start,
            [
                vec!["db".to_owned(), "other".to_owned()],
                vec!["web".to_owned()]
            ]
        );
        assert!(all.stop.is_empty() && all.keep.is_empty());
        // One has ended, one has changed, and one is gone from the file.
        let mut deployed = wishes.clone();
        deployed.insert("old".into(), Wanted::default());
        deployed.get_mut("db").unwrap().run.pop();
        let next = steps(
            &wishes,
            &deployed,
            &set(&["db", "old", "other", "stranger"]),
        );
        assert_eq!(next.stop, ["db", "old"]);
        assert_eq!(next.keep, ["other"]);
        assert_eq!(next.start, [vec!["db".to_owned()], vec!["web".to_owned()]]);
        let nothing = steps(&wishes, &wishes, &set(&["db", "other", "web"]));
        assert_eq!(
            (nothing.stop.len(), nothing.start.len(), nothing.keep.len()),
            (0, 0, 3)
        );
    }

    #[test]
    fn a_flag_of_the_services_own_is_found_however_it_is_written() {
        let unfit = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&it| it.to_owned()).collect();
            unfit_flags(&words)
        };
        for (words, flag) in [
            (&["-vD"][..], "--daemon"),
            (&["--daemon"], "--daemon"),
            (&["--name", "x"], "--name"),
            (&["-v", "--pid-file=p"], "--pid-file"),
            (&["--dry-run"], "--dry-run"),
            (&["--end-with-parent"], "--end-with-parent"),
            (&["--detached"], "--detached"),
        ] {
            let why = unfit(words).unwrap_or_default();
            assert!(why.starts_with(&format!("`{flag}` is")), "{words:?}: {why}");
        }
        assert_eq!(unfit(&["--append", "-D", "--cmdline=--name x"]), None);
        let why = unfit(&["--variant", "bass"]).unwrap();
        assert!(
            why.contains("no variant `bass`") && why.contains("`base`?"),
            "{why}"
        );
        assert_eq!(unfit(&["--variant", "bpf"]), None);
        assert!(unfit(&["--cpus", "many"]).unwrap().contains("--cpus"));
    }

    #[test]
    fn every_problem_of_a_file_is_told_at_once() {
        let text = "x = 1\n[vm.\"a/b\"]\n[vm.c]\nrun = \"--variant\"\nafter = [\"d\"]\nmemory = 1\n\
            [vm.e]\nrun = [\"--variant\"]\n[vm._g]\n[vm.f]\nrun = [\"--name=x\"]\n";
        let problems = parse(text).unwrap_err();
        let said = problems.join("\n");
        for words in [
            "no `x`",
            "`a/b` is no name",
            "`_g` is no name",
            "vm.c.run is no list",
            "no VM `d`",
            "vm.c has no `memory`",
            "vm.e.run: ",
            "`--name` is given by",
        ] {
            assert!(said.contains(words), "`{words}` is not in\n{said}");
        }
        assert_eq!(problems.len(), 8, "{said}");
        let circle = parse("[vm.a]\nafter=[\"b\"]\n[vm.b]\nafter=[\"a\"]\n").unwrap_err();
        assert!(circle.concat().contains("circle"));
        assert!(parse("[vm").is_err());
    }
}
