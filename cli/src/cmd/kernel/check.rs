//! `pcp-vmm kernel check`: whether a kernel was built with what a guest needs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use guest::kernel_config::{Importance, KernelConfig, Purpose, Report};
use guest::modules::ModuleTree;
use serde::Serialize;
use vmm::boot;

use super::{store, unknown};
use crate::args::{KernelCheckArgs, PurposeArg};
use crate::cmd::exec::kernel as choice;
use crate::diagnostic::Diagnostic;
use crate::env;
use crate::exit::Exit;
use crate::kernel_image::btf::{self, Btf};
use crate::kernel_image::config::{self, Found};
use crate::kernel_image::version_of;
use crate::output::{Output, Stop};
use crate::table::Table;

/// What is known of the kernel that is asked about.
#[derive(Debug, Default)]
struct Subject {
    version: Option<String>,
    image: Option<PathBuf>,
    modules: Option<PathBuf>,
    config: Option<Found>,
    /// `None`: not to be told; `Some(None)`: it has no types.
    btf: Option<Option<Btf>>,
}

/// What `kernel check --json` prints.
#[derive(Debug, Serialize)]
struct Checked<'a> {
    ok: bool,
    purposes: Vec<Purpose>,
    version: Option<&'a str>,
    kernel: Option<&'a Path>,
    config: &'a Path,
    modules: Option<&'a Path>,
    btf: Option<Btf>,
    #[serde(flatten)]
    report: &'a Report,
}

/// Reports on the kernel; the status is 1 if it lacks something needed.
pub(super) fn check(args: &KernelCheckArgs, output: Output) -> Result<Exit, Stop> {
    let mut subject = subject(&args.kernel)?;
    if let Some(path) = &args.config {
        subject.config = Some(named(path)?);
    }
    if let Some(path) = &args.modules {
        subject.modules = Some(path.clone());
    }
    let found = subject.config.take().map_or_else(|| inside(&subject), Ok)?;
    let tree = subject.modules.as_deref().map(ModuleTree::open).transpose();
    let tree = tree.map_err(|error| {
        Diagnostic::failure("modules", "cannot use the kernel's modules")
            .because(&error)
            .hint("`--modules DIR` names the folder with `modules.dep`")
    })?;
    let purposes: Vec<Purpose> = args.purposes.iter().map(|it| (*it).into()).collect();
    let mut report = Report::of(&found.config, tree.as_ref(), &purposes);
    if subject.btf == Some(None) {
        report.lacks("DEBUG_INFO_BTF");
    }
    let ok = report.missing().next().is_none();
    let checked = Checked {
        ok,
        purposes,
        version: subject.version.as_deref(),
        kernel: subject.image.as_deref(),
        config: &found.from,
        modules: subject.modules.as_deref(),
        btf: subject.btf.flatten(),
        report: &report,
    };
    if output.is_json() {
        output.json(&checked)?;
    } else {
        output.data(text(&checked, &subject, output.is_quiet()))?;
    }
    Ok(if ok { Exit::Success } else { Exit::Failure })
}

/// The table, and what follows from it; with `quiet`, only the options that are missing and needed.
fn text(checked: &Checked<'_>, subject: &Subject, quiet: bool) -> String {
    let missing: Vec<_> = checked.report.missing().collect();
    if quiet {
        let lines = missing
            .iter()
            .map(|row| format!("CONFIG_{}\n", row.need.option));
        return lines.collect();
    }
    let mut table = Table::new(&["OPTION", "STATE", "", "FOR", "WHAT FOR"]);
    for row in &checked.report.options {
        let state = match row.state {
            "module-missing" => "module, not there",
            "missing" => "not set",
            other => other,
        };
        let importance = match row.need.importance {
            Importance::Needed => "needed",
            Importance::Wanted => "",
        };
        table.row([
            format!("CONFIG_{}", row.need.option),
            state.to_owned(),
            importance.to_owned(),
            row.purpose.name().to_owned(),
            row.need.reason.to_owned(),
        ]);
    }
    let mut text = table.text();
    text += &format!(
        "\nkernel {}, configuration from {}\n",
        checked.version.unwrap_or("of an unknown version"),
        checked.config.display()
    );
    match (&checked.btf, subject.btf.is_some()) {
        (Some(btf), _) => {
            text += &format!(
                "BTF: {} types, {} of them functions, {} KiB\n",
                btf.types,
                btf.functions,
                btf.size.div_ceil(1024)
            );
        }
        (None, true) => text += "BTF: none in the kernel\n",
        (None, false) => {}
    }
    let names = missing
        .iter()
        .map(|row| format!("CONFIG_{}", row.need.option));
    match missing.is_empty() {
        true => text += "nothing needed is missing\n",
        false => text += &format!("missing: {}\n", names.collect::<Vec<_>>().join(", ")),
    }
    text
}

/// What is known of the kernel `wanted`: `host`, a version in the cache, or a file.
fn subject(wanted: &Path) -> Result<Subject, Diagnostic> {
    let text = wanted.to_string_lossy();
    if text == "host" {
        return host();
    }
    if choice::is_version(&text) {
        let kernels = store()?.kernels();
        let kernels = kernels.map_err(|error| super::cannot_list(&error))?;
        let kernel = kernels.into_iter().find(|it| it.is_named(&text));
        let kernel = kernel.ok_or_else(|| match store() {
            Ok(store) => unknown(&store, &text),
            Err(diagnostic) => diagnostic,
        })?;
        return Ok(Subject {
            config: config::read(&kernel.config()),
            btf: types(&kernel.image()).ok(),
            modules: Some(kernel.modules()),
            image: Some(kernel.image()),
            version: Some(kernel.release),
        });
    }
    file(wanted)
}

fn host() -> Result<Subject, Diagnostic> {
    let version = choice::release()?;
    let own = fs::read("/sys/kernel/btf/vmlinux").ok();
    let modules = Path::new("/lib/modules").join(&version);
    Ok(Subject {
        config: config::of_host(&version),
        btf: Some(own.as_deref().and_then(btf::parse)),
        modules: Some(modules).filter(|it| it.join("modules.dep").exists()),
        image: choice::of_host().ok(),
        version: Some(version),
    })
}

/// A kernel's file, or that of a configuration alone.
fn file(path: &Path) -> Result<Subject, Diagnostic> {
    let cannot = |error: &dyn std::error::Error| {
        Diagnostic::usage("kernel", format!("cannot read `{}`", path.display()))
            .because(error)
            .hint("KERNEL is `host`, a version in the cache, or the file of a kernel or of a configuration")
    };
    let begin = File::open(path).and_then(|file| {
        let mut begin = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(file, 4), &mut begin)?;
        Ok(begin)
    });
    let begin = begin.map_err(|error| cannot(&error))?;
    let is_kernel = begin.starts_with(b"\x7fELF") || begin.starts_with(b"MZ");
    if !is_kernel && let Some(config) = config::read(path) {
        return Ok(Subject {
            config: Some(config),
            ..Subject::default()
        });
    }
    let version = version_of(path).map_err(|error| cannot(&error))?;
    let btf = types(path).map_err(|error| cannot(&error))?;
    Ok(Subject {
        config: config::beside(path, version.as_deref()),
        btf: Some(btf),
        modules: choice::folder_near(path, || version.clone()),
        image: Some(path.to_owned()),
        version,
    })
}

/// The ELF file in a kernel's.
fn unpacked(image: &Path) -> Result<File, boot::BootError> {
    let cache = env::cache_dir().map(|dir| dir.join("kernels"));
    boot::open_elf(image, cache.as_deref())
}

/// The types in a kernel's file.
fn types(image: &Path) -> Result<Option<Btf>, boot::BootError> {
    let file = unpacked(image)?;
    Ok(btf::of_elf(&file).unwrap_or_else(|error| {
        log::warn!("cannot read the types of {}: {error}", image.display());
        None
    }))
}

/// The configuration that the user names.
fn named(path: &Path) -> Result<Found, Diagnostic> {
    config::read(path).ok_or_else(|| {
        let what = format!("`{}` is no kernel's configuration", path.display());
        Diagnostic::usage("config", what).hint(
            "`--config` names a file of lines such as `CONFIG_PCI=y`, perhaps compressed with gzip",
        )
    })
}

/// The configuration inside the kernel.
fn inside(subject: &Subject) -> Result<Found, Diagnostic> {
    let failed = || {
        Diagnostic::failure("config", "the kernel's configuration is not to be had")
            .hint("`--config FILE` names it; a kernel with CONFIG_IKCONFIG has it in itself")
    };
    let Some(image) = &subject.image else {
        return Err(failed());
    };
    let file = unpacked(image).map_err(|error| failed().because(&error))?;
    let config = KernelConfig::inside(file).map_err(|error| failed().because(&error))?;
    let config = config.ok_or_else(|| {
        failed().cause(format!(
            "`{}` has none in itself, and none is beside it, in /boot or with its modules",
            image.display()
        ))
    })?;
    Ok(Found {
        config,
        from: image.clone(),
    })
}

impl From<PurposeArg> for Purpose {
    fn from(arg: PurposeArg) -> Self {
        match arg {
            PurposeArg::Run => Self::Run,
            PurposeArg::Exec => Self::Exec,
            PurposeArg::Bpf => Self::Bpf,
        }
    }
}
