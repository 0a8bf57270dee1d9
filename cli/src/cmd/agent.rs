//! `pcp-vmm agent`.

use std::io;
use std::path::Path;

use guest::agent::{self, PROGRAM};
use guest::init::INIT;
use serde_json::json;

use crate::args::AgentArgs;
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::output::{Output, Stop};
use crate::whole_file;

/// Puts the agent where it is wanted.
pub(crate) fn place(args: &AgentArgs, output: Output) -> Result<Exit, Stop> {
    if let Some(file) = &args.program {
        whole_file::write(file, INIT, 0o755).map_err(|error| failed(file, &error))?;
        return told(file, false, output);
    }
    let root = args.root.as_deref().unwrap_or(Path::new(""));
    if !root.is_dir() {
        let what = format!("`{}` is no folder", root.display());
        return Err(Diagnostic::usage("root", what)
            .hint("ROOT is the folder of a guest's root file system; `--program FILE` writes the program alone")
            .into());
    }
    let has_unit = agent::install(root).map_err(|(path, error)| failed(&path, &error))?;
    told(
        &root.join(PROGRAM.trim_start_matches('/')),
        has_unit,
        output,
    )
}

fn told(program: &Path, has_unit: bool, output: Output) -> Result<Exit, Stop> {
    if output.is_json() {
        output.json(&json!({ "program": program, "unit": has_unit }))?;
        return Ok(Exit::Success);
    }
    output.note(format!("wrote {}", program.display()));
    if !has_unit {
        output.note(
            "in the guest, `agent` as its argument has it listen: systemd is not there to do so",
        );
    }
    Ok(Exit::Success)
}

fn failed(path: &Path, error: &io::Error) -> Stop {
    let what = format!("cannot write `{}`", path.display());
    Diagnostic::failure("agent", what).because(error).into()
}
