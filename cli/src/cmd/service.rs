//! `pcp-vmm service generate`.

use std::fs;
use std::io;
use std::path::Path;

use crate::args::{GenerateArgs, ServiceVerb};
use crate::deployment;
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::output::{Output, Stop};
use crate::service::{InitSystem, Piece, Service};
use crate::whole_file;

/// Does what `verb` says.
pub(crate) fn dispatch(verb: ServiceVerb, output: Output) -> Result<Exit, Stop> {
    let ServiceVerb::Generate(args) = verb;
    generate(args, output)
}

fn generate(args: GenerateArgs, output: Output) -> Result<Exit, Stop> {
    let names = std::iter::once(&args.name).chain(&args.after);
    let mut problems: Vec<String> = names
        .filter_map(|name| deployment::unfit_name(name))
        .collect();
    problems.extend(deployment::unfit_flags(&args.flags));
    if !problems.is_empty() {
        let what = Diagnostic::usage(
            "service",
            format!("cannot define `{}`", args.name.escape_debug()),
        );
        let what = problems.into_iter().fold(what, Diagnostic::cause);
        return Err(what
            .hint("what follows `--` are flags of `pcp-vmm run`")
            .into());
    }
    if !args.socket.is_empty() && args.manager != InitSystem::Systemd {
        return Err(Diagnostic::usage("service", "`--socket` is for systemd")
            .hint("other managers start the VM by themselves, and its consoles listen from then on")
            .into());
    }
    let own = std::env::current_exe().ok();
    let program = args.program.or(own).unwrap_or_else(|| "pcp-vmm".into());
    let service = Service {
        name: args.name,
        program: program.to_string_lossy().into_owned(),
        flags: args.flags,
        after: args.after,
        user: args.user,
        image: args.image,
        sockets: args.socket,
        settings: args.set,
    };
    let pieces = service.pieces(args.manager);
    let Some(folder) = args.output else {
        return print(&pieces, output);
    };
    for piece in &pieces {
        let path = folder.join(&piece.path);
        write(&path, piece).map_err(|error| {
            let what = format!("cannot write `{}`", path.display());
            Diagnostic::failure("output", what).because(&error)
        })?;
        output.note(format!("wrote {}", path.display()));
    }
    Ok(Exit::Success)
}

/// The files as JSON, or their texts, with their names where there are several.
fn print(pieces: &[Piece], output: Output) -> Result<Exit, Stop> {
    if output.is_json() {
        let all: Vec<_> = pieces
            .iter()
            .map(|it| serde_json::json!({ "path": it.path, "text": it.text, "executable": it.executable }))
            .collect();
        output.json(&all)?;
        return Ok(Exit::Success);
    }
    for piece in pieces {
        if pieces.len() > 1 {
            output.data(format!("==> {} <==\n", piece.path))?;
        }
        output.data(&piece.text)?;
    }
    Ok(Exit::Success)
}

fn write(path: &Path, piece: &Piece) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    let mode = if piece.executable { 0o755 } else { 0o644 };
    whole_file::write(path, piece.text.as_bytes(), mode)
}
