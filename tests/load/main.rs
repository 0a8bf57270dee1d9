//! The load of `cargo xtask bench`: a small static program that does one kind of work in the guest
//! and prints how long it took, as `load: NAME SECONDS`.
#![allow(
    clippy::print_stdout,
    reason = "its output on the guest's console is what the bench reads"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{env, hint};

use anyhow::{Context, Result, bail, ensure};

/// What one request of a sequential stream carries.
const BLOCK: usize = 128 << 10;
/// What one random request carries.
const PAGE: usize = 4 << 10;

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["read", name, path] => timed(name, || read(path, false)),
        ["read-direct", name, path] => timed(name, || read(path, true)),
        ["random", name, path, count] => random(name, path, count.parse()?, false),
        ["random-direct", name, path, count] => random(name, path, count.parse()?, true),
        ["write", name, path, mib] => timed(name, || write(path, mib.parse()?)),
        ["walk", name, path] => timed(name, || walk(Path::new(path)).map(|_| ())),
        ["stat", name, path, folder, count] => {
            let (folder, count) = (folder.parse()?, count.parse()?);
            timed(name, || stat(Path::new(path), folder, count))
        }
        ["run", name, program, ref words @ ..] => timed(name, || run(program, words)),
        ["make", name, path, folders, files] => timed(name, || {
            make(Path::new(path), folders.parse()?, files.parse()?)
        }),
        ["remove", name, path] => timed(name, || Ok(fs::remove_dir_all(path)?)),
        ["drop-caches"] => Ok(fs::write("/proc/sys/vm/drop_caches", "3")?),
        _ => bail!("unknown load: {}", words.join(" ")),
    }
}

fn timed(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let begin = Instant::now();
    work().with_context(|| format!("{name} failed"))?;
    println!("load: {name} {:.6}", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Opens a file, past the guest's page cache if `direct`.
fn open(path: &str, direct: bool) -> Result<File> {
    const O_DIRECT: i32 = 0o40000;
    let mut options = OpenOptions::new();
    options.read(true);
    if direct {
        options.custom_flags(O_DIRECT);
    }
    options
        .open(path)
        .with_context(|| format!("cannot open {path}"))
}

/// A buffer that begins at a page, as direct I/O wants it.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let bytes = vec![1; len + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, start, len }
    }

    fn get(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

fn read(path: &str, direct: bool) -> Result<()> {
    let mut file = open(path, direct)?;
    let mut buffer = Aligned::new(BLOCK);
    let mut total = 0_u64;
    loop {
        let got = file.read(buffer.get())?;
        if got == 0 {
            break;
        }
        total += hint::black_box(u64::try_from(got)?);
    }
    ensure!(total > 0, "{path} is empty");
    Ok(())
}

fn random(name: &str, path: &str, count: u64, direct: bool) -> Result<()> {
    let file = open(path, direct)?;
    // A device's metadata has no length; its end has.
    let length = std::io::Seek::seek(&mut &file, std::io::SeekFrom::End(0))?;
    let pages = length / u64::try_from(PAGE)?;
    ensure!(pages > 0, "{path} is too short");
    let mut buffer = Aligned::new(PAGE);
    // Xorshift: the same places in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    timed(name, || {
        for _ in 0..count {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            file.read_exact_at(buffer.get(), state % pages * u64::try_from(PAGE)?)?;
        }
        Ok(())
    })
}

fn write(path: &str, mib: usize) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(!path.starts_with("/dev/"))
        .truncate(false)
        .open(path)
        .with_context(|| format!("cannot open {path}"))?;
    let mut buffer = Aligned::new(BLOCK);
    buffer.get().fill(b'x');
    for _ in 0..(mib << 20) / BLOCK {
        file.write_all(buffer.get())?;
    }
    // A terminal has nothing to sync.
    let _ = file.sync_data();
    Ok(())
}

/// Lists a tree, as `find` does.
fn walk(path: &Path) -> Result<u64> {
    let mut entries = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        entries += 1;
        if entry.file_type()?.is_dir() {
            entries += walk(&entry.path())?;
        }
    }
    Ok(entries)
}

/// Asks for the attributes of `count` files, `each` in a folder, by their paths.
fn stat(path: &Path, each: u32, count: u32) -> Result<()> {
    for index in 0..count {
        let (folder, file) = (index / each, index % each);
        let file = path.join(format!("folder{folder}/file{file}"));
        ensure!(fs::symlink_metadata(file)?.len() == 1, "a wrong file");
    }
    Ok(())
}

/// Runs another program, which has nothing to say.
fn run(program: &str, words: &[&str]) -> Result<()> {
    let done = Command::new(program).args(words).output()?;
    let said = String::from_utf8_lossy(&done.stdout);
    ensure!(
        done.status.success() && said.is_empty(),
        "{}: {said}{}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}

fn make(path: &Path, folders: u32, files: u32) -> Result<()> {
    for folder in 0..folders {
        let folder = path.join(format!("folder{folder}"));
        fs::create_dir_all(&folder)?;
        for file in 0..files {
            fs::write(folder.join(format!("file{file}")), "twelve bytes")?;
        }
    }
    Ok(())
}
