//! `bench lifecycle`: `pcp-vmm lifecycle test`, phase by phase, of one bundle on this program and on QEMU (with
//! virtiofsd for the guest's root, as a bundle with a share needs one there).

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use guest::bundle::{Bundle, ConsoleDevice, Root};
use serde_json::Value;

use super::Options;
use super::contestant::refresh;
use super::qemu::microvm;
use super::table::{Row, Table};
use crate::{command, place, release};

/// Processors of the guest: as many as the lab has.
const CPUS: &str = "1";
/// Instructions are emulated there.
const SCALE: &str = "8";

/// Builds the bundle.
pub(super) fn prepare() -> Result<PathBuf> {
    command::run(release::image_command("base").stdout(Stdio::null()))?;
    Ok(place::cache()?.join("images/base"))
}

/// Measures both programs in turn.
pub(super) fn run(options: &Options) -> Result<()> {
    let folder = match &options.bundle {
        Some(bundle) => bundle.clone(),
        None => prepare()?,
    };
    let vmm = options.vmm()?;
    let bundle = Bundle::load(&folder)?;
    let files = tempfile::tempdir().context("cannot make a folder")?;
    let runner = files.path().join("qemu");
    fs::write(&runner, script(&options.qemu()?, &bundle, files.path())?)
        .and_then(|()| fs::set_permissions(&runner, fs::Permissions::from_mode(0o755)))
        .context("cannot write the runner")?;
    let with = |words: &[&str]| {
        let mut test = Command::new(&vmm);
        test.args(["lifecycle", "test", "--json", "--timeout-scale", SCALE]);
        test.arg("--runtime-dir").arg(files.path().join("runtime"));
        test.arg("--bundle").arg(&folder).args(words);
        test
    };
    let runner = runner.to_string_lossy();
    let mut tests = [
        ("QEMU", with(&["--runner", &runner])),
        ("pcp-vmm", with(&["--", "--cpus", CPUS])),
    ];
    let mut rows: Vec<Row> = Vec::new();
    for _ in 0..options.runs(3) {
        for (name, test) in &mut tests {
            refresh()?;
            for (what, seconds) in times(name, test)? {
                let label = format!("{what}: {name}");
                let row = match rows.iter_mut().find(|row| row.name == label) {
                    Some(row) => row,
                    None => {
                        rows.push(Row::new(label, what));
                        rows.last_mut().context("no row")?
                    }
                };
                row.push(seconds);
            }
        }
    }
    // Both programs' rows of a phase together, in the phases' order.
    let order: Vec<String> = rows.iter().map(|row| row.group.clone()).collect();
    rows.sort_by_key(|row| order.iter().position(|it| *it == row.group));
    let title = if env::var_os("PCP_VMM_LAB").is_some() {
        "lifecycle test of the base guest, in the lab; phases 2 to 4 overlap"
    } else {
        "lifecycle test of the base guest; phases 2 to 4 overlap"
    };
    Table {
        title,
        unit: "s",
        rows,
    }
    .print(options.json)
}

/// Runs a test: the name and the seconds of each of its phases, and of the whole.
fn times(name: &str, test: &mut Command) -> Result<Vec<(String, f64)>> {
    let done = test.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let done = done.context("cannot run the suite")?;
    let said = String::from_utf8_lossy(&done.stdout);
    if !done.status.success() {
        bail!("the test on {name} ended with {}: {said}", done.status);
    }
    let report: Value = serde_json::from_str(&said).context("the suite's report is no JSON")?;
    let test = &report["tests"][0];
    let seconds = |value: &Value| value.as_f64().map(|ms| ms / 1e3);
    let mut times = Vec::new();
    for phase in test["phases"].as_array().into_iter().flatten() {
        let (Some(what), Some(time)) = (phase["phase"].as_str(), seconds(&phase["duration_ms"]))
        else {
            bail!("a phase has no name or no time: {phase}");
        };
        // The bundle is there in both.
        if what != "build" {
            times.push((what.to_owned(), time));
        }
    }
    let whole = seconds(&test["duration_ms"]).context("the test has no time")?;
    times.push(("whole".to_owned(), whole));
    Ok(times)
}

/// A program that runs the bundle's guest on QEMU.
fn script(qemu: &Path, bundle: &Bundle, files: &Path) -> Result<String> {
    let Root::Share(root) = &bundle.root else {
        bail!("the bundle's root is no share");
    };
    let path = |path: &Path| bundle.resolve(path).to_string_lossy().into_owned();
    let port = |device: ConsoleDevice| {
        let mut consoles = bundle.consoles.iter();
        let console = consoles.find(|it| it.device == device);
        console.map(|it| it.port).context("a console has no port")
    };
    let mut net = "user,id=n".to_owned();
    for forward in &bundle.forwards {
        let _ = write!(net, ",hostfwd=tcp::{}-:{}", forward.host, forward.guest);
    }
    let (serial, virtio) = (port(ConsoleDevice::TtyS0)?, port(ConsoleDevice::Hvc0)?);
    let memory = bundle.memory_mib.to_string();
    let mut machine = microvm("QEMU", qemu, &memory, CPUS)
        .args(["-kernel", &path(&bundle.kernel)])
        .args(["-append", &bundle.cmdline])
        .args(["-serial", &format!("tcp:127.0.0.1:{serial},server,nowait")])
        .args(["-netdev", &net, "-device"])
        .args([format!(
            "virtio-net-pci,netdev=n,romfile=,mac={}",
            bundle.mac
        )])
        .args(["-device", "virtio-rng-pci"])
        .args(["-device", "virtio-serial-pci", "-chardev"])
        .args([format!(
            "socket,id=c,host=127.0.0.1,port={virtio},server=on,wait=off"
        )])
        .args(["-device", "virtconsole,chardev=c"])
        .args(["-object"])
        .args([format!("memory-backend-memfd,id=m,share=on,size={memory}M")])
        .args(["-numa", "node,memdev=m", "-chardev"])
        .args([format!("socket,id=v,path={}/socket", files.display())])
        .args(["-device"])
        .args([format!("vhost-user-fs-pci,chardev=v,tag={}", root.tag)]);
    if let Some(initrd) = &bundle.initrd {
        machine = machine.args(["-initrd", &path(initrd)]);
    }
    let quoted: Vec<_> = machine.words.iter().map(|word| quote(word)).collect();
    let source = quote(&path(&root.path));
    let files = quote(&files.to_string_lossy());
    Ok(format!(
        "#!/bin/sh\n\
         rm -f {files}/socket\n\
         for server in /usr/lib/qemu/virtiofsd /usr/libexec/virtiofsd; do [ -x $server ] && break; done\n\
         $server --socket-path={files}/socket -o source={source},cache=auto,sandbox=chroot \
         >{files}/server.log 2>&1 &\n\
         while [ ! -S {files}/socket ]; do kill -0 $! || {{ cat {files}/server.log >&2; exit 1; }}; sleep 0.02; done\n\
         exec {}\n",
        quoted.join(" ")
    ))
}

/// A word as the shell takes it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_quotes_is_one_word() {
        let word = "a b'c $d";
        let said = Command::new("sh")
            .args(["-c", &format!("printf %s {}", quote(word))])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), word);
    }

    #[test]
    fn a_reports_times_are_read() {
        let report = r#"{"tests":[{"duration_ms":5000,"phases":[
            {"phase":"build","duration_ms":1},{"phase":"start","duration_ms":250}]}]}"#;
        let mut test = Command::new("echo");
        let times = times("x", test.arg(report)).unwrap();
        assert_eq!(times, [("start".into(), 0.25), ("whole".into(), 5.0)]);
        let broken = super::times("x", &mut Command::new("false"));
        assert!(broken.is_err());
    }
}
