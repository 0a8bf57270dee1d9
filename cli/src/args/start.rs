//! The command line where its verb is known beforehand to be `run`.

use clap::builder::{OsStr, Resettable};
use clap::{Arg, ArgAction, Args, Command};

use super::verbs::VERBS;
use super::{CommonArgs, RunArgs};

/// The command line with `run` alone: the parser gives each verb a copy of each flag that all have, and those are a third
/// of the pages that a start touches.
pub(crate) fn command_of_run() -> Command {
    let root = CommonArgs::augment_args(Command::new("pcp-vmm"))
        .disable_help_subcommand(true)
        .max_term_width(100)
        .arg(
            Arg::new("version")
                .long("version")
                .short('V')
                .action(ArgAction::SetTrue),
        );
    let run = VERBS.iter().filter(|(name, ..)| *name == "run");
    root.subcommands(
        run.map(|(name, about, define)| Command::new(*name).about(*about).defer(*define)),
    )
}

/// `run` without the flags that all verbs have, and without a look at the environment: for flags that are the program's own.
pub(crate) fn run_alone() -> Command {
    let run = RunArgs::augment_args(Command::new("run"));
    run.mut_args(|arg| arg.env(Resettable::<OsStr>::Reset))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::args::Cli;

    #[test]
    fn it_understands_what_the_whole_command_line_does() {
        for words in [
            &["run", "--kernel", "k", "--net", "none", "-vv"][..],
            &[
                "run",
                "--kernel=k",
                "--state-dir",
                "/s",
                "--json",
                "--memory",
                "1G",
            ],
            &["run", "--kernel", "k", "--memroy", "1G"],
            &["run", "--kernel", "k", "--cpus", "many"],
            &["run", "--kernel", "k", "extra", "--help"],
        ] {
            let words = || ["pcp-vmm"].iter().chain(words);
            let all = Cli::command().try_get_matches_from(words());
            let one = command_of_run().try_get_matches_from(words());
            match (all, one) {
                (Ok(all), Ok(one)) => {
                    let [all, one] = [all, one].map(|it| Cli::from_arg_matches(&it).unwrap());
                    assert_eq!(format!("{all:?}"), format!("{one:?}"));
                }
                (Err(all), Err(one)) => {
                    assert_eq!(all.kind(), one.kind());
                    assert_eq!(all.to_string(), one.to_string());
                }
                (all, one) => panic!("{all:?} and {one:?}"),
            }
        }
    }
}
