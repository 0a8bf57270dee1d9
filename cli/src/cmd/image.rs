//! `pcp-vmm image`: builds, lists and removes guest images.

use std::fs;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};

use guest::bundle::{Bundle, DiskFormat, MANIFEST};
use guest::image::{ImageSpec, RootForm};
use serde::Serialize;

use super::run::load_bundle;
use crate::args::{BuildArgs, CommonArgs, ImageVerb, RemoveArgs, RootDiskArg};
use crate::diagnostic::Diagnostic;
use crate::env;
use crate::exit::Exit;
use crate::folders;
use crate::output::{Output, Stop};
use crate::progress::BuildProgress;

/// Does what `verb` says.
pub(crate) fn dispatch(verb: ImageVerb, common: &CommonArgs, output: Output) -> Result<Exit, Stop> {
    match verb {
        ImageVerb::Build(args) => build_image(args, common, output),
        ImageVerb::Ls => list(output),
        ImageVerb::Rm(args) => remove(&args, output),
    }
}

/// What `image build --json` prints.
#[derive(Debug, Serialize)]
struct Built<'a> {
    path: &'a Path,
    variant: &'a str,
    suite: &'a str,
    kernel: &'a str,
}

fn build_image(args: BuildArgs, common: &CommonArgs, output: Output) -> Result<Exit, Stop> {
    let variant = find(&args.variant)?;
    let path = match args.output {
        Some(path) => path,
        None => images_dir()?.join(&variant.name),
    };
    let spec = ImageSpec {
        suite: args.suite,
        kernel: args.kernel.into(),
        root: match args.root_disk {
            Some(RootDiskArg::Erofs) => RootForm::Disk(DiskFormat::Erofs),
            Some(RootDiskArg::Ext4) => RootForm::Disk(DiskFormat::Ext4),
            None => RootForm::for_this_user(),
        },
        mirror: args.mirror,
        extra_packages: args.package,
        install_missing: args.install_missing,
        force: args.force,
        work: folders::tmp_dir(common)?,
        ..ImageSpec::new(variant, path, build_dir()?)
    };
    let bundle = build(&spec, output)?;
    if output.is_json() {
        output.json(&Built {
            path: &bundle.dir,
            variant: &bundle.variant,
            suite: &bundle.build.suite,
            kernel: &bundle.build.kernel_release,
        })?;
    } else {
        output.data(format!("{}\n", bundle.dir.display()))?;
    }
    Ok(Exit::Success)
}

/// The bundle of the documented guest `variant`, built if it is not there yet.
pub(crate) fn bundle_of(
    variant: &str,
    dry_run: bool,
    common: &CommonArgs,
    output: Output,
) -> Result<Bundle, Stop> {
    let variant = find(variant)?;
    let name = variant.name.clone();
    let dir = images_dir()?.join(&name);
    if dir.join(MANIFEST).exists() {
        return Ok(load_bundle(&dir)?);
    }
    if dry_run {
        return Err(
            Diagnostic::failure("image", format!("the guest `{name}` has no image yet"))
                .hint(format!("`pcp-vmm image build --variant {name}`"))
                .into(),
        );
    }
    output.note(format!(
        "building the image of `{name}`, which is done once"
    ));
    let spec = ImageSpec {
        work: folders::tmp_dir(common)?,
        ..ImageSpec::new(variant, dir, build_dir()?)
    };
    Ok(build(&spec, output)?)
}

/// Where the bundle of the documented guest `variant` is, or would be.
pub(crate) fn dir_of(variant: &str) -> Result<PathBuf, Diagnostic> {
    let variant = find(variant)?;
    Ok(images_dir()?.join(variant.name))
}

fn build(spec: &ImageSpec, output: Output) -> Result<Bundle, Diagnostic> {
    let mut progress = BuildProgress::new(output);
    let built = guest::image::build(spec, &mut progress);
    progress.finish(built.is_ok());
    built.map_err(|error| {
        let name = &spec.variant.name;
        let diagnostic =
            Diagnostic::failure("image", format!("cannot build the image of `{name}`"))
                .because(&error);
        match error.hint() {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic.hint("`-v` shows what the tools say; a rerun goes on where it can"),
        }
    })
}

fn find(name: &str) -> Result<guest::variant::Variant, Diagnostic> {
    guest::variant::find(name).map_err(|error| {
        Diagnostic::usage(
            "variant",
            format!("cannot use variant `{}`", name.escape_debug()),
        )
        .because(&error)
        .hint("for a guest of your own: `pcp-vmm run --bundle DIR` or `--kernel FILE`")
    })
}

fn cache_dir() -> Result<PathBuf, Diagnostic> {
    env::cache_dir().ok_or_else(|| {
        Diagnostic::failure("cache", "there is no folder for images")
            .hint("set `HOME`, or `PCP_VMM_CACHE` to a folder")
    })
}

/// The folder of what builds share.
fn build_dir() -> Result<PathBuf, Diagnostic> {
    Ok(cache_dir()?.join("build"))
}

/// The folder of the images, each in a folder of its own name.
fn images_dir() -> Result<PathBuf, Diagnostic> {
    Ok(cache_dir()?.join("images"))
}

/// A row of `image ls`.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    path: PathBuf,
    variant: Option<String>,
    suite: Option<String>,
    kernel: Option<String>,
    problem: Option<String>,
}

fn list(output: Output) -> Result<Exit, Stop> {
    let rows = rows(&images_dir()?)?;
    if output.is_json() {
        output.json(&rows)?;
    } else if output.is_quiet() {
        output.data(
            rows.iter()
                .map(|row| format!("{}\n", row.name))
                .collect::<String>(),
        )?;
    } else {
        output.data(rows.iter().map(line).collect::<String>())?;
    }
    Ok(Exit::Success)
}

fn line(row: &Row) -> String {
    let path = row.path.display();
    match (&row.problem, &row.suite, &row.kernel) {
        (None, Some(suite), Some(kernel)) => {
            format!("{:<12}  {suite}, Linux {kernel}  {path}\n", row.name)
        }
        (problem, ..) => {
            let problem = problem.as_deref().unwrap_or("incomplete");
            format!("{:<12}  unusable: {problem}  {path}\n", row.name)
        }
    }
}

fn rows(dir: &Path) -> Result<Vec<Row>, Diagnostic> {
    let failed = |error: &io::Error| {
        Diagnostic::failure("cache", format!("cannot list `{}`", dir.display())).because(error)
    };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| failed(&error))?,
    };
    let mut rows = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed(&error))?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let Some(name) = name.filter(|name| path.is_dir() && !name.starts_with('.')) else {
            continue;
        };
        let bundle = Bundle::load(&path);
        let loaded = bundle.as_ref().ok();
        rows.push(Row {
            name,
            variant: loaded.map(|bundle| bundle.variant.clone()),
            suite: loaded.map(|bundle| bundle.build.suite.clone()),
            kernel: loaded.map(|bundle| bundle.build.kernel_release.clone()),
            problem: bundle.as_ref().err().map(ToString::to_string),
            path,
        });
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

fn remove(args: &RemoveArgs, output: Output) -> Result<Exit, Stop> {
    let dir = images_dir()?;
    let known = rows(&dir)?;
    let names: Vec<String> = if args.all {
        known.into_iter().map(|row| row.name).collect()
    } else {
        for name in &args.names {
            if !known.iter().any(|row| row.name == *name) {
                return Err(
                    Diagnostic::failure("image", format!("there is no image `{name}`"))
                        .hint("`pcp-vmm image ls` lists the images")
                        .into(),
                );
            }
        }
        args.names.clone()
    };
    if !args.force && !agreed("remove", &names, output)? {
        return Ok(Exit::Failure);
    }
    for name in &names {
        remove_tree(&dir.join(name))?;
        output.note(format!("removed {name}"));
    }
    if args.downloads {
        remove_tree(&build_dir()?)?;
        output.note("removed what builds share");
    }
    Ok(Exit::Success)
}

fn remove_tree(path: &Path) -> Result<(), Diagnostic> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Diagnostic::failure(
            "image",
            format!("cannot remove `{}`", path.display()),
        )
        .because(&error)),
        _ => Ok(()),
    }
}

/// Asks on a terminal whether to `verb` things; without one, refuses.
pub(super) fn agreed(verb: &str, names: &[String], output: Output) -> Result<bool, Diagnostic> {
    if names.is_empty() {
        return Ok(true);
    }
    let names = names.join(", ");
    if !io::stdin().is_terminal() {
        return Err(Diagnostic::usage(
            "confirm",
            format!("will not {verb} {names} without being asked"),
        )
        .hint("add `--force`"));
    }
    output.ask(&format!("{verb} {names}? [y/N] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| {
        Diagnostic::failure("confirm", "cannot read the answer").because(&error)
    })?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
