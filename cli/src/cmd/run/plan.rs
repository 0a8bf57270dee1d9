//! What to run: the guest's source, and the layers of its configuration.

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use guest::bundle::{Bundle, BundleError, MANIFEST};
use vmm::config::value::NetChoice;
use vmm::config::{Credential, Layer, Origin, Resolved};

use super::{Surroundings, identifiers};
use crate::args::{CommonArgs, RunArgs};
use crate::cmd::image;
use crate::diagnostic::Diagnostic;
use crate::env;
use crate::folders;
use crate::output::{Output, Stop};
use crate::ssh_key::{KeyError, SshKey};

/// The variant that is run unless another is asked for.
const DEFAULT_VARIANT: &str = "base";
/// The configuration file of a project, in the working directory.
const PROJECT_FILE: &str = "pcp-vmm.toml";

/// A VM ready to be built.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What to build.
    pub(crate) resolved: Resolved,
    /// What that is made from, the weakest first.
    pub(crate) layers: Vec<(Origin, Layer)>,
    /// The bundle that it is from.
    pub(crate) bundle: Option<Bundle>,
    /// The name that the process is to carry.
    pub(crate) process_name: Option<String>,
    /// The private key by which the guest lets its user in, if it is told one.
    pub(crate) ssh_key: Option<PathBuf>,
    /// How many seconds the guest may take to user space, if the user said so; 0 is for ever.
    pub(crate) boot_timeout: Option<u64>,
}

impl Plan {
    /// Merges the layers anew, after a change to them.
    pub(crate) fn resolve(&mut self) {
        let old = std::mem::replace(&mut self.resolved, Resolved::from_layers(&self.layers));
        let spec = &mut self.resolved.spec;
        spec.kernel_cache = old.spec.kernel_cache;
        spec.pid_file = old.spec.pid_file;
    }
}

/// Works out what `args`, the environment, the configuration files and the bundle ask for.
pub(super) fn plan(
    args: &RunArgs,
    matches: &ArgMatches,
    surroundings: &Surroundings<'_>,
    output: Output,
) -> Result<Plan, Stop> {
    let common = surroundings.common;
    let bundle = match source(args, matches)? {
        Source::Kernel => None,
        Source::Bundle(dir) => Some(load(&dir)?),
        Source::Variant(name) => Some(image::bundle_of(&name, args.dry_run, common, output)?),
    };
    let mut layers = Vec::new();
    match &bundle {
        None => layers.push((Origin::Default, Layer::bare())),
        Some(bundle) => {
            layers.push((Origin::Default, Layer::under_bundle()));
            layers.push((
                Origin::Bundle(bundle.dir.clone()),
                Layer::from_bundle(bundle),
            ));
        }
    }
    let told = bundle.as_ref().and_then(|it| key_for(it, args, common));
    if let Some((key, credential)) = &told {
        let layer = Layer {
            credential: vec![credential.clone()],
            ..Layer::default()
        };
        let key = key.private.with_extension("pub");
        layers.push((Origin::File(key), layer));
    }
    let files = env::config_file().into_iter().chain([PROJECT_FILE.into()]);
    for path in files.filter(|_| !surroundings.qemu) {
        layers.extend(file_layer(&path)?.map(|layer| (Origin::File(path), layer)));
    }
    let (environment, flags) = split(args, matches);
    layers.push((Origin::Environment, environment));
    layers.push((Origin::Flags, flags));
    let on_tap = |(_, layer): &(Origin, Layer)| matches!(layer.net, Some(NetChoice::Tap(_)));
    if layers.iter().any(on_tap)
        && let Some((_, weakest)) = layers.first_mut()
    {
        weakest.nameserver = nameservers();
    }
    let mut resolved = Resolved::from_layers(&layers);
    resolved.spec.kernel_cache = env::cache_dir().map(|dir| dir.join("kernels"));
    // The user's own credential may be in its place.
    let credentials = &resolved.spec.credentials;
    let told = told.filter(|(_, credential)| credentials.contains(credential));
    let ssh_key = told.map(|(key, _)| key.private);
    let named = bundle.is_some() || layers.iter().any(|(_, layer)| layer.process_name.is_some());
    let mut plan = Plan {
        resolved,
        layers,
        bundle,
        process_name: None,
        ssh_key,
        boot_timeout: args.boot_timeout,
    };
    identifiers::foresee(&mut plan, common)?;
    plan.process_name = named.then(|| plan.resolved.spec.process_name.clone());
    Ok(plan)
}

/// The key of the working directory, and the credential that tells the guest of it, if it looks for one. Without a key the
/// guest's password does.
fn key_for(bundle: &Bundle, args: &RunArgs, common: &CommonArgs) -> Option<(SshKey, Credential)> {
    let name = bundle.logins.ssh.as_ref()?.authorized_keys.as_ref()?;
    let state = folders::state_dir(common).ok()?;
    let directory = std::env::current_dir().ok()?;
    let key = if args.dry_run {
        SshKey::find(&state, &directory)
    } else {
        SshKey::provide(&state, &directory).map(Some)
    };
    match key {
        Ok(key) => {
            let key = key?;
            let credential = format!("{name}={}", key.public).parse().ok()?;
            Some((key, credential))
        }
        Err(KeyError::NoProgram) => {
            log::info!("the guest has no key to log in with: there is no `ssh-keygen`");
            None
        }
        Err(error) => {
            log::warn!("the guest has no key to log in with: {}", chain(&error));
            None
        }
    }
}

/// An error and its causes in a line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// The host's name servers, without those that only the host itself reaches.
fn nameservers() -> Vec<Ipv4Addr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix("nameserver")?;
        rest.trim().parse::<Ipv4Addr>().ok()
    });
    servers.filter(|server| !server.is_loopback()).collect()
}

/// Where the guest comes from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// A kernel by itself.
    Kernel,
    /// A bundle in this folder.
    Bundle(PathBuf),
    /// The documented guest of this name.
    Variant(String),
}

fn source(args: &RunArgs, matches: &ArgMatches) -> Result<Source, Diagnostic> {
    let by_flag = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    match (&args.bundle, &args.variant) {
        (Some(_), Some(_)) if by_flag("bundle") && by_flag("variant") => Err(Diagnostic::usage(
            "usage",
            "`--bundle` cannot be used with `--variant`",
        )
        .hint("a bundle says itself which variant it is")),
        (Some(dir), Some(name)) if by_flag("bundle") || !by_flag("variant") => {
            log::debug!("bundle {} goes before variant {name}", dir.display());
            Ok(Source::Bundle(dir.clone()))
        }
        (Some(dir), None) => Ok(Source::Bundle(dir.clone())),
        (_, Some(name)) => Ok(Source::Variant(name.clone())),
        (None, None) if args.kernel.is_some() => Ok(Source::Kernel),
        (None, None) => Ok(Source::Variant(DEFAULT_VARIANT.to_owned())),
    }
}

/// Reads the bundle in `dir`.
pub(crate) fn load(dir: &Path) -> Result<Bundle, Diagnostic> {
    Bundle::load(dir).map_err(|error| {
        let shown = dir.display();
        let diagnostic = Diagnostic::usage("bundle", format!("cannot use bundle `{shown}`"));
        match &error {
            BundleError::Invalid { problems, .. } => problems
                .iter()
                .fold(diagnostic, |d, problem| {
                    d.cause(format!("{MANIFEST}: {problem}"))
                })
                .hint(
                    "`docs/bundle.md` describes every field; \
                       `pcp-vmm image build` writes a bundle anew",
                ),
            _ => diagnostic
                .because(&error)
                .hint(format!("a bundle is a folder with `{}`", MANIFEST)),
        }
    })
}

/// The layer of a configuration file, if it exists.
fn file_layer(path: &Path) -> Result<Option<Layer>, Diagnostic> {
    let shown = path.display();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(
                Diagnostic::usage("config-file", format!("cannot read `{shown}`")).because(&error),
            );
        }
    };
    toml::from_str(&text).map(Some).map_err(|error| {
        Diagnostic::usage("config-file", format!("cannot use `{shown}`"))
            .cause(error.to_string().trim_end().to_owned())
            .hint("keys are the names of the flags of `pcp-vmm run`, as in `memory = \"2G\"`")
    })
}

/// The values of the environment and those of the command line.
fn split(args: &RunArgs, matches: &ArgMatches) -> (Layer, Layer) {
    let from_environment = |id: &str| matches.value_source(id) == Some(ValueSource::EnvVariable);
    let mut environment = Layer::default();
    let mut flags = Layer {
        name: args.name.clone(),
        process_name: args.process_name.clone(),
        kernel: args.kernel.clone(),
        initrd: args.initrd.clone(),
        cmdline: args.cmdline.clone(),
        append: args.append.clone(),
        transport: args.transport,
        mac: args.mac,
        mtu: args.mtu,
        rng: args.rng,
        uuid: args.uuid,
        credential: args.credential.clone(),
        console: args.console.clone(),
        forward: args.forward.clone(),
        share: args.share.clone(),
        disk: args.disk.clone(),
        balloon: args.balloon,
        vsock: args.vsock.clone(),
        control: args.control.clone(),
        monitor: args.monitor.clone(),
        ..Layer::default()
    };
    let mut layer_of = |id: &str, set: &dyn Fn(&mut Layer)| {
        set(if from_environment(id) {
            &mut environment
        } else {
            &mut flags
        });
    };
    layer_of("memory", &|layer| layer.memory = args.memory);
    layer_of("cpus", &|layer| layer.cpus = args.cpus);
    layer_of("net", &|layer| layer.net = args.net.clone());
    layer_of("sandbox", &|layer| layer.sandbox = args.sandbox);
    layer_of("port_offset", &|layer| layer.port_offset = args.port_offset);
    (environment, flags)
}
