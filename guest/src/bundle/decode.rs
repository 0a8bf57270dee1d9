//! From JSON to a checked bundle: which fields there are, what they may hold, and what must agree.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::path::{Component, Path};

use serde_json::Value;

use super::fields::Fields;
use super::types::{
    BuildInfo, Bundle, Console, ConsoleDevice, ConsoleLogin, DiskFormat, Forward, HttpCheck,
    Logins, Protocol, Root, Share, ShareProtocol, SshLogin,
};
use super::{Problem, SCHEMA_VERSION};
use crate::MacAddress;

/// Linux x86 keeps 2048 bytes for the command line, the final NUL among them
/// (Linux arch/x86/include/asm/setup.h, COMMAND_LINE_SIZE).
const MAX_CMDLINE: usize = 2047;
/// A virtio-fs tag has at most 36 bytes (VIRTIO 1.3 §5.11.4).
const MAX_TAG: usize = 36;

/// Reads the manifest `value` of the bundle in `dir`.
pub(super) fn bundle(dir: &Path, value: Value) -> Result<Bundle, Vec<Problem>> {
    let mut problems = Vec::new();
    // Another version has other fields: their faults would only hide the true one.
    if let Some(version) = value.get("schema_version").and_then(Value::as_u64)
        && version != SCHEMA_VERSION
    {
        let message = format!("version {version} is not supported; expected {SCHEMA_VERSION}");
        return Err(vec![Problem {
            field: "schema_version".to_owned(),
            message,
        }]);
    }
    let read = Fields::object(String::new(), value, &mut problems, |fields| {
        manifest(dir, fields)
    });
    match read {
        Some(bundle) if problems.is_empty() => {
            agree(&bundle, &mut problems);
            if problems.is_empty() {
                Ok(bundle)
            } else {
                Err(problems)
            }
        }
        _ => Err(problems),
    }
}

/// All fields are read before the first missing one ends the work, so that all get reported.
fn manifest(dir: &Path, fields: &mut Fields<'_>) -> Option<Bundle> {
    let schema_version = fields.integer("schema_version", SCHEMA_VERSION..=SCHEMA_VERSION);
    let variant = fields.text("variant", name);
    let hostname = fields.text("hostname", hostname);
    let process = fields.text("process", name);
    let kernel = fields.file("kernel");
    let initrd = fields.optional_text("initrd", path);
    let cmdline = fields.text("cmdline", cmdline);
    let root = fields.nested("root", root);
    let shares = fields.list("shares", share);
    let memory_mib = fields.integer("memory_mib", 128..=512 << 10);
    let cpus = fields.integer("cpus", 1..=64);
    let mac = fields.text("mac", |text| {
        text.parse::<MacAddress>()
            .map(drop)
            .map_err(|error| error.to_string())
    });
    let forwards = fields.list("forwards", forward);
    let consoles = fields.list("consoles", console);
    let services = fields.texts("services", name);
    let metrics = fields.texts("metrics", name);
    let http_checks = fields.list("http_checks", http_check);
    let logins = fields.nested("logins", logins);
    let agent = fields.optional_flag("agent");
    let build = fields.nested("build", build_info);
    Some(Bundle {
        dir: dir.to_owned(),
        schema_version: schema_version?,
        variant: variant?,
        hostname: hostname?,
        process: process?,
        kernel: kernel?,
        initrd: initrd?.map(Into::into),
        cmdline: cmdline?,
        root: root?,
        shares: shares?,
        memory_mib: memory_mib?,
        cpus: u32::try_from(cpus?).ok()?,
        mac: mac?.parse().ok()?,
        forwards: forwards?,
        consoles: consoles?,
        services: services?,
        metrics: metrics?,
        http_checks: http_checks?,
        logins: logins?,
        agent: agent?,
        build: build?,
    })
}

#[derive(Clone, Copy)]
enum RootKind {
    Share,
    Disk,
    Initrd,
}

fn root(fields: &mut Fields<'_>) -> Option<Root> {
    let kinds = [
        ("share", RootKind::Share),
        ("disk", RootKind::Disk),
        ("initrd", RootKind::Initrd),
    ];
    match fields.word("kind", &kinds)? {
        RootKind::Share => share(fields).map(Root::Share),
        RootKind::Disk => {
            let path = fields.file("path");
            let formats = [("erofs", DiskFormat::Erofs), ("ext4", DiskFormat::Ext4)];
            let format = fields.word("format", &formats);
            let read_only = fields.flag("read_only");
            Some(Root::Disk {
                path: path?,
                format: format?,
                read_only: read_only?,
            })
        }
        RootKind::Initrd => Some(Root::Initrd),
    }
}

fn share(fields: &mut Fields<'_>) -> Option<Share> {
    let tag = fields.text("tag", |text| match text.len() {
        1..=MAX_TAG => name(text),
        bytes => Err(format!(
            "expected a tag of 1 to {MAX_TAG} bytes, found {bytes}"
        )),
    });
    let path = fields.file("path");
    let read_only = fields.flag("read_only");
    let proto = fields.optional_word(
        "proto",
        &[
            ("virtiofs", ShareProtocol::VirtioFs),
            ("9p", ShareProtocol::P9),
        ],
    );
    Some(Share {
        tag: tag?,
        path: path?,
        read_only: read_only?,
        proto: proto?,
    })
}

fn forward(fields: &mut Fields<'_>) -> Option<Forward> {
    let name = fields.text("name", name);
    let protocol = fields.word(
        "protocol",
        &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)],
    );
    let address = fields.optional_text("address", |text| {
        let error = |_| "expected an IPv4 address, as in `127.0.0.1`".to_owned();
        text.parse::<Ipv4Addr>().map(drop).map_err(error)
    });
    let host = fields.port("host");
    let guest = fields.port("guest");
    let address = match address? {
        Some(text) => text.parse().ok()?,
        None => Ipv4Addr::UNSPECIFIED,
    };
    Some(Forward {
        name: name?,
        protocol: protocol?,
        address,
        host: host?,
        guest: guest?,
    })
}

fn console(fields: &mut Fields<'_>) -> Option<Console> {
    let devices = [
        ("ttyS0", ConsoleDevice::TtyS0),
        ("hvc0", ConsoleDevice::Hvc0),
    ];
    let device = fields.word("device", &devices);
    let port = fields.port("port");
    Some(Console {
        device: device?,
        port: port?,
    })
}

fn http_check(fields: &mut Fields<'_>) -> Option<HttpCheck> {
    let name = fields.text("name", name);
    let port = fields.port("port");
    let path = fields.text("path", |text| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~/?:@!&()*+,;=%".contains(&b);
        if text.starts_with('/') && text.bytes().all(allowed) {
            Ok(())
        } else {
            Err("expected `/` and then the characters of a URL's path and query".to_owned())
        }
    });
    Some(HttpCheck {
        name: name?,
        port: port?,
        path: path?,
    })
}

fn logins(fields: &mut Fields<'_>) -> Option<Logins> {
    let console = fields.optional_nested("console", |fields| {
        let user = fields.text("user", name);
        let password = fields.text("password", line);
        Some(ConsoleLogin {
            user: user?,
            password: password?,
        })
    });
    let ssh = fields.optional_nested("ssh", |fields| {
        let user = fields.text("user", name);
        let password = fields.optional_text("password", line);
        let key = fields.optional_text("key", path);
        let authorized_keys = fields.optional_text("authorized_keys", name);
        let (password, key, authorized_keys) = (password?, key?, authorized_keys?);
        if password.is_none() && key.is_none() && authorized_keys.is_none() {
            fields.problem(
                "password",
                "a password, a key or a credential for keys is needed",
            );
            return None;
        }
        Some(SshLogin {
            user: user?,
            password,
            key: key.map(Into::into),
            authorized_keys,
        })
    });
    Some(Logins {
        console: console?,
        ssh: ssh?,
    })
}

fn build_info(fields: &mut Fields<'_>) -> Option<BuildInfo> {
    let builder = fields.text("builder", line);
    let suite = fields.text("suite", line);
    let kernel_release = fields.text("kernel_release", line);
    let packages = fields.dictionary("packages");
    Some(BuildInfo {
        builder: builder?,
        suite: suite?,
        kernel_release: kernel_release?,
        packages: packages?.into_iter().collect(),
    })
}

/// Checks what no field shows alone: files that must be there, names and ports used twice.
fn agree(bundle: &Bundle, problems: &mut Vec<Problem>) {
    let mut problem = |field: String, message: String| problems.push(Problem { field, message });
    let mut exists = |field: &str, path: &Path, folder: bool| {
        let path = bundle.resolve(path);
        let (found, kind) = if folder {
            (path.is_dir(), "folder")
        } else {
            (path.is_file(), "file")
        };
        if !found {
            problem(
                field.to_owned(),
                format!("there is no {kind} `{}`", path.display()),
            );
        }
    };
    exists("kernel", &bundle.kernel, false);
    if let Some(initrd) = &bundle.initrd {
        exists("initrd", initrd, false);
    }
    match &bundle.root {
        Root::Share(share) => exists("root.path", &share.path, true),
        Root::Disk { path, .. } => exists("root.path", path, false),
        Root::Initrd => {}
    }
    for (index, share) in bundle.shares.iter().enumerate() {
        exists(&format!("shares[{index}].path"), &share.path, true);
    }
    if let Some(key) = bundle.logins.ssh.as_ref().and_then(|ssh| ssh.key.as_ref()) {
        exists("logins.ssh.key", key, false);
    }

    let mut tags = HashSet::new();
    if let Root::Share(share) = &bundle.root {
        tags.insert(&share.tag);
    }
    for (index, share) in bundle.shares.iter().enumerate() {
        if !tags.insert(&share.tag) {
            problem(
                format!("shares[{index}].tag"),
                format!("tag `{}` is used twice", share.tag),
            );
        }
    }
    let mut names = HashSet::new();
    let mut ports = HashSet::new();
    for (index, forward) in bundle.forwards.iter().enumerate() {
        if !names.insert(&forward.name) {
            let message = format!("`{}` is named twice", forward.name);
            problem(format!("forwards[{index}].name"), message);
        }
        if !ports.insert((forward.protocol, forward.host)) {
            let message = format!("host port {} is used twice", forward.host);
            problem(format!("forwards[{index}].host"), message);
        }
    }
    let mut devices = Vec::new();
    for (index, console) in bundle.consoles.iter().enumerate() {
        if devices.contains(&console.device) {
            problem(
                format!("consoles[{index}].device"),
                "the device is named twice".to_owned(),
            );
        }
        devices.push(console.device);
        if !ports.insert((Protocol::Tcp, console.port)) {
            let message = format!("host port {} is used twice", console.port);
            problem(format!("consoles[{index}].port"), message);
        }
    }
}

/// A name that is safe in command lines, host names aside: letters, digits and `@._:-`.
fn name(text: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"@._:-".contains(&b);
    if !text.is_empty() && !text.starts_with('-') && text.bytes().all(allowed) {
        return Ok(());
    }
    Err("expected a name of letters, digits and `@._:-`, without `-` in front".to_owned())
}

/// One label of RFC 1123 §2.1.
fn hostname(text: &str) -> Result<(), String> {
    let allowed = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if allowed && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-') {
        return Ok(());
    }
    Err("expected 1 to 63 letters, digits and hyphens, no hyphen at an end".to_owned())
}

/// A line of text without control characters.
pub(super) fn line(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) {
        return Err("control characters are not allowed".to_owned());
    }
    Ok(())
}

fn cmdline(text: &str) -> Result<(), String> {
    if text.len() > MAX_CMDLINE {
        return Err(format!(
            "{} bytes are more than the kernel's {MAX_CMDLINE}",
            text.len()
        ));
    }
    line(text)
}

/// A path that is absolute or stays inside the bundle's folder.
pub(super) fn path(text: &str) -> Result<(), String> {
    if text.is_empty() || text.contains('\0') {
        return Err("expected a path".to_owned());
    }
    if Path::new(text)
        .components()
        .any(|part| part == Component::ParentDir)
    {
        return Err("`..` is not allowed in a path".to_owned());
    }
    Ok(())
}
