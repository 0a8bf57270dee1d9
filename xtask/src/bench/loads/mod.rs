//! `bench fs`, `bench blk` and `bench console`: one load in the same guest on both programs, timed by the guest.

mod files;
mod share;
mod side;

use std::fs;

use anyhow::{Context, Result};
use files::Files;
pub(super) use files::prepare;
use side::{LIMIT, Side};

use super::Options;
use super::contestant::{Contestant, refresh};
use super::qemu::COMMAND_LINE;
use super::table::{Row, Table};
use super::user_exits::UserExits;

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Fs { files: u32 },
    Blk,
    Console,
}

impl Subject {
    fn title(self) -> &'static str {
        match self {
            Self::Fs { .. } => "A shared folder in a Debian 6.12 guest, 1 vCPU",
            Self::Blk => "A raw disk in a Debian 6.12 guest, 1 vCPU",
            Self::Console => "64 MiB through hvc0 of a Debian 6.12 guest, 1 vCPU",
        }
    }
}

fn blk(files: &Files) -> Result<Vec<Side>> {
    let script = "/load read-direct 'sequential read, 256 MiB' /dev/vda\n\
        /load random-direct 'random read, 8192 x 4 KiB' /dev/vda 8192\n\
        /load write 'sequential write, 128 MiB' /dev/vda 128\n";
    files.initramfs("blk", &[], script)?;
    fs::write(files.path("disk"), vec![7; 256 << 20]).context("cannot write the disk")?;
    let drive = format!(
        "if=none,id=d,format=raw,aio=io_uring,file={}",
        files.text("disk")
    );
    let sides = [
        files
            .qemu("QEMU, io_uring", "blk")
            .args(["-append", COMMAND_LINE, "-drive", &drive])
            .args(["-device", "virtio-blk-pci,drive=d"]),
        files.ours("pcp-vmm", "blk").args([
            "--cmdline",
            COMMAND_LINE,
            "--disk",
            &files.text("disk"),
        ]),
    ];
    Ok(sides.into_iter().map(|it| Side::alone(it, "blk")).collect())
}

fn console(files: &Files) -> Result<Vec<Side>> {
    let script = "stty raw < /dev/hvc0\n/load write '64 MiB to hvc0' /dev/hvc0 64\n";
    files.initramfs("console", &[], script)?;
    let file = format!("file,id=c,path={}", files.text("qemu.out"));
    let ours = format!("virtio=file={}", files.text("ours.out"));
    let serial = "virtio-serial-pci";
    let sides = [
        files
            .qemu("QEMU", "console")
            .args([
                "-append",
                COMMAND_LINE,
                "-chardev",
                &file,
                "-device",
                serial,
            ])
            .args(["-device", "virtconsole,chardev=c"]),
        files
            .ours("pcp-vmm", "console")
            .args(["--cmdline", COMMAND_LINE, "--console", &ours]),
    ];
    let alone = |it| Side::alone(it, "hvc0");
    Ok(sides.into_iter().map(alone).collect())
}

/// Measures both programs in turn and prints a table of each load.
pub(super) fn run(subject: Subject, options: &Options) -> Result<()> {
    let files = Files::new(options)?;
    let sides = match subject {
        Subject::Fs { files: count } => share::sides(&files, count, options.part.as_deref())?,
        Subject::Blk => blk(&files)?,
        Subject::Console => console(&files)?,
    };
    let sides = with_before(sides, &files, options);
    let wanted = |side: &Side| options.wants(&side.contestant.name);
    let sides: Vec<_> = sides.into_iter().filter(wanted).collect();
    let there: Vec<_> = sides.iter().collect();
    let back: Vec<_> = sides.iter().rev().collect();
    let mut rows = Vec::new();
    // What a program leaves behind meets each of its neighbours.
    for turn in [&there, &back].into_iter().cycle().take(options.runs(3)) {
        for side in turn {
            refresh()?;
            for (load, time) in side.run()? {
                eprintln!("{}: {load}: {time:.2} s", side.contestant.name);
                put(&mut rows, side, &load, time);
            }
        }
    }
    let rank = |row: &Row| {
        let name = |side: &Side| row.name.ends_with(&format!(": {}", side.contestant.name));
        sides.iter().position(name)
    };
    let mut sorted: Vec<Row> = Vec::new();
    for row in &rows {
        if !sorted.iter().any(|it| it.group == row.group) {
            let mut group: Vec<_> = rows.iter().filter(|it| it.group == row.group).collect();
            group.sort_by_key(|row| rank(row));
            sorted.extend(group.into_iter().cloned());
        }
    }
    Table {
        title: subject.title(),
        unit: "s",
        rows: sorted,
    }
    .print(options.json)?;
    if subject == Subject::Console {
        exits(&files, options)?;
    }
    Ok(())
}

/// The sides, and each of this program's once more with the other build of it, if there is one.
fn with_before(sides: Vec<Side>, files: &Files, options: &Options) -> Vec<Side> {
    let Some(before) = &options.before else {
        return sides;
    };
    let before = before.to_string_lossy();
    let other = |side: &Side| {
        let words = files.words_of(&side.contestant, &before)?;
        let contestant = Contestant {
            name: format!("before, {}", side.group),
            words,
            ..side.contestant.clone()
        };
        Some(Side::alone(contestant, side.group))
    };
    let others: Vec<_> = sides.iter().filter_map(other).collect();
    sides.into_iter().chain(others).collect()
}

/// Adds a measurement to the row of its load and side.
fn put(rows: &mut Vec<Row>, side: &Side, load: &str, time: f64) {
    let name = format!("{load}: {}", side.contestant.name);
    if let Some(row) = rows.iter_mut().find(|row| row.name == name) {
        row.push(time);
        return;
    }
    let mut row = Row::new(name, format!("{}: {load}", side.group));
    row.push(time);
    rows.push(row);
}

/// Counts the returns to user space while a kernel prints its log on ttyS0.
fn exits(files: &Files, options: &Options) -> Result<()> {
    const LOUD: &str = "console=ttyS0 panic=-1 reboot=t";
    files.initramfs("log", &[], "")?;
    let sides = [
        files.qemu("QEMU", "log").args(["-append", LOUD]),
        files.ours("pcp-vmm", "log").args(["--cmdline", LOUD]),
    ];
    let mut rows = Vec::new();
    for side in &sides {
        let counter = UserExits::start()?;
        let said = side.said(LIMIT)?;
        let exits = counter.stop()?;
        let mut row = Row::new(&side.name, "exits");
        row.push(exits / f64::from(u32::try_from(said.len())?));
        rows.push(row);
    }
    let title = "Returns to user space for each byte of boot log on ttyS0";
    Table {
        title,
        unit: "count",
        rows,
    }
    .print(options.json)
}
