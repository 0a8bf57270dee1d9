//! `pcp-vmm --version`.

use serde::Serialize;

use crate::exit::Exit;
use crate::output::{Output, Stop};

/// What `--version --json` prints.
#[derive(Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
    target: String,
    bundle_schema: u64,
}

/// Prints the version.
pub(crate) fn print(output: Output) -> Result<Exit, Stop> {
    let version = Version {
        name: "pcp-vmm",
        version: env!("CARGO_PKG_VERSION"),
        target: target(),
        bundle_schema: guest::bundle::SCHEMA_VERSION,
    };
    if output.is_json() {
        output.json(&version)?;
    } else {
        output.data(format!("{} {}\n", version.name, version.version))?;
    }
    Ok(Exit::Success)
}

fn target() -> String {
    let libc = if cfg!(target_env = "musl") {
        "musl"
    } else {
        "gnu"
    };
    format!("{}-{}-{libc}", std::env::consts::ARCH, std::env::consts::OS)
}
