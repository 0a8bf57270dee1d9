//! Writes the seeds into `fuzz/corpus`, and sees first that each does what it is for.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`; with a target and a folder of its inputs, it
//! tells how many requests those make, and how many of them are carried out.

use std::path::Path;
use std::{fs, io};

use devices::virtio::testing::{MmioDriver, PciDriver};
use pcp_vmm_fuzz::device::{self, Tally};
use pcp_vmm_fuzz::seeds;
use pcp_vmm_fuzz::subject::{
    Ballooning, Card, Echoing, Entropy, Fuse, Image, NineP, Plugged, Sockets, Storage, Terminal,
};
use pcp_vmm_fuzz::{files, ground, legacy, machine, peer, talk, transport};

fn taken(taken: bool) -> Tally {
    Tally {
        successful: taken.into(),
        ..Tally::default()
    }
}

/// What tells only by panicking that it went wrong.
fn done(f: impl FnOnce()) -> Tally {
    f();
    Tally::default()
}

fn run(target: &str, data: &[u8]) -> Option<Tally> {
    Some(match target {
        "queue" => device::run(Echoing, data),
        "rng" => device::run(Entropy, data),
        "console" => device::run(Terminal::default(), data),
        "balloon" => device::run(Ballooning::default(), data),
        "blk" => device::run(Storage::default(), data),
        "fs" => device::run(Fuse::default(), data),
        "p9" => device::run(NineP::default(), data),
        "vsock" => device::run(Sockets::default(), data),
        "net" => device::run(Card::default(), data),
        "bundle" => taken(files::bundle(data)),
        "kernel" => taken(files::kernel(data)),
        "qcow2" => taken(Image::new(data).run()),
        "tap" => device::run(Plugged::default(), data),
        "control" => Tally {
            successful: talk::run(data),
            ..Tally::default()
        },
        "vhost_user" => taken(peer::run(data)),
        "pci" => done(|| transport::run::<PciDriver>(data)),
        "mmio" => done(|| transport::run::<MmioDriver>(data)),
        "pci_config" => done(|| machine::configure(data)),
        "legacy" => done(|| legacy::run(data)),
        "fw_cfg" => done(|| machine::read_files(data)),
        _ => return None,
    })
}

/// What all files of a folder do together.
fn total(target: &str, folder: &Path) -> io::Result<Tally> {
    let mut total = Tally::default();
    for entry in fs::read_dir(folder)? {
        if let Some(tally) = run(target, &fs::read(entry?.path())?) {
            total.answered += tally.answered;
            total.successful += tally.successful;
            total.failed += tally.failed;
        }
    }
    Ok(total)
}

fn main() -> io::Result<()> {
    ground::fence();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [target, folder] = arguments.as_slice() {
        println!("{target}: {:?}", total(target, Path::new(folder))?);
        return Ok(());
    }
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut failed = 0;
    for seed in seeds::all() {
        if let Some(tally) = run(seed.target, &seed.bytes) {
            let good = tally.successful >= seed.successful;
            failed += usize::from(!good);
            let mark = if good { "ok    " } else { "FAILED" };
            let (target, name, wanted) = (seed.target, seed.name, seed.successful);
            println!("{mark} {target}/{name}: {wanted} of {tally:?}");
        }
        let folder = corpus.join(seed.target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("seed-{}", seed.name)), &seed.bytes)?;
    }
    if failed > 0 {
        return Err(io::Error::other(format!(
            "{failed} seeds do less than they should"
        )));
    }
    Ok(())
}
