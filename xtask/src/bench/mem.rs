//! `bench mem`: what a program holds for itself, beyond its guest's memory.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use pcp_vmm_tests::guests::{Stop, one_byte};

use super::Options;
use super::contestant::Contestant;
use super::table::{Row, Table};

/// The guest's memory: a size that no other mapping has.
const MEMORY_MIB: u64 = 200;

/// Measures both programs with the same idle guest and all devices.
pub(super) fn run(options: &Options) -> Result<()> {
    let vmm = options.vmm()?;
    let qemu = options.qemu()?;
    let folder = tempfile::tempdir().context("cannot make a folder for the guest")?;
    one_byte(Stop::Halt).write(&folder.path().join("kernel"))?;
    fs::write(folder.path().join("disk"), vec![0; 1 << 20]).context("cannot write the disk")?;
    fs::create_dir(folder.path().join("share")).context("cannot make the share")?;
    let contestants = [microvm(&qemu, folder.path()), ours(&vmm, folder.path())];
    let mut rows: Vec<_> = contestants
        .iter()
        .map(|it| Row::new(&it.name, "private"))
        .collect();
    for _ in 0..options.runs(5) {
        for (row, contestant) in rows.iter_mut().zip(&contestants) {
            row.push(measure(contestant)?);
        }
    }
    let title = "Own private memory beside the guest's, with net, fs, blk and both consoles";
    Table {
        title,
        unit: "MiB",
        rows,
    }
    .print(options.json)
}

fn ours(vmm: &Path, folder: &Path) -> Contestant {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    Contestant::new("pcp-vmm", vmm)
        .args([
            "run",
            "--kernel",
            &path("kernel"),
            "--memory",
            &format!("{MEMORY_MIB}M"),
        ])
        .args(["--cpus", "1", "--net", "user", "--console", "serial=stdio"])
        .args([
            "--console",
            "virtio=none",
            "--rng=true",
            "--disk",
            &path("disk"),
        ])
        .args(["--share", &format!("data={}", path("share"))])
}

fn microvm(qemu: &Path, folder: &Path) -> Contestant {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let machine =
        "microvm,acpi=on,pcie=on,pit=off,pic=off,rtc=off,usb=off,x-option-roms=off,isa-serial=on";
    Contestant::new("QEMU microvm (no shared folder)", qemu)
        .args([
            "-M",
            machine,
            "-accel",
            "kvm",
            "-cpu",
            "host,-arch-capabilities",
            "-m",
            &MEMORY_MIB.to_string(),
        ])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-serial",
            "stdio",
        ])
        .args([
            "-netdev",
            "user,id=n",
            "-device",
            "virtio-net-pci,netdev=n,romfile=",
        ])
        .args([
            "-drive",
            &format!("if=none,id=d,format=raw,file={}", path("disk")),
        ])
        .args([
            "-device",
            "virtio-blk-pci,drive=d",
            "-device",
            "virtio-rng-pci",
        ])
        .args(["-device", "virtio-serial-pci", "-chardev", "null,id=c"])
        .args([
            "-device",
            "virtconsole,chardev=c",
            "-kernel",
            &path("kernel"),
        ])
}

/// From a guest's first byte to the measurement: what a start needs is no part of what a VM takes.
const SETTLED: Duration = Duration::from_millis(300);

/// The private memory of one run, a moment after its guest has written its byte, in MiB.
fn measure(contestant: &Contestant) -> Result<f64> {
    let mut child = contestant.spawn()?;
    let mut first = [0];
    let got = child.stdout.as_mut().map(|pipe| pipe.read(&mut first));
    thread::sleep(SETTLED);
    let maps = fs::read_to_string(format!("/proc/{}/smaps", child.id()));
    // It waits for ever; its end is of no interest.
    let _ = child.kill();
    let _ = child.wait();
    if !matches!(got, Some(Ok(1))) {
        let mut said = String::new();
        if let Some(mut pipe) = child.stderr.take() {
            let _ = pipe.read_to_string(&mut said);
        }
        bail!(
            "{} ended without a byte from its guest: {said}",
            contestant.name
        );
    }
    let private = private_beyond(
        &maps.context("cannot read the memory map")?,
        MEMORY_MIB << 10,
    );
    Ok(f64::from(u32::try_from(private)?) / 1024.0)
}

/// The private kilobytes of all mappings except those of the guest's memory, which have `guest` kilobytes together.
fn private_beyond(smaps: &str, guest: u64) -> u64 {
    let mut total = 0;
    let mut size = 0;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let (Some(key), Some(value)) = (words.next(), words.next()) else {
            continue;
        };
        let Ok(value) = value.parse::<u64>() else {
            continue;
        };
        match key {
            "Size:" => size = value,
            // Neighbouring mappings of equal kind are shown as one: the guest's memory may have a little beside it.
            "Private_Clean:" | "Private_Dirty:" if !(guest..guest + 4096).contains(&size) => {
                total += value;
            }
            _ => {}
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guests_memory_is_left_out() {
        let smaps = "7f00-7f10 rw-p 00000000 00:00 0\nSize: 204800 kB\nPrivate_Clean: 0 kB\n\
            Private_Dirty: 5000 kB\n7f20-7f30 rw-p 00000000 00:00 0 [heap]\nSize: 300 kB\n\
            Private_Clean: 4 kB\nPrivate_Dirty: 96 kB\n";
        assert_eq!(private_beyond(smaps, 204_800), 100);
    }
}
