//! `pcp-vmm kernel unpack`: what a bzImage holds, as a file.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use vmm::boot;

use crate::args::KernelUnpackArgs;
use crate::cmd::exec::kernel as choice;
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::output::{Output, Stop};

/// Writes the kernel; its file is there whole or not at all.
pub(super) fn unpack(args: &KernelUnpackArgs, output: Output) -> Result<Exit, Stop> {
    let (image, _held) = choice::image(&args.kernel)?;
    let elf = boot::open_elf(&image, None).map_err(|error| {
        Diagnostic::failure("kernel", format!("cannot unpack `{}`", image.display()))
            .because(&error)
            .hint("KERNEL is `host`, a version in the cache, or the file of a bzImage")
    })?;
    let size = write(elf, &args.output).map_err(|error| {
        let what = format!("cannot write `{}`", args.output.display());
        Diagnostic::failure("output", what).because(&error)
    })?;
    if output.is_json() {
        output.json(&json!({ "kernel": image, "output": args.output, "bytes": size }))?;
    } else {
        output.note(format!(
            "wrote {}, {} MiB",
            args.output.display(),
            size >> 20
        ));
    }
    Ok(Exit::Success)
}

fn write(mut elf: File, place: &Path) -> io::Result<u64> {
    let mut draft = place.as_os_str().to_owned();
    draft.push(format!(".{}.part", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = File::create(&draft).and_then(|mut file| {
        let size = io::copy(&mut elf, &mut file)?;
        fs::rename(&draft, place)?;
        Ok(size)
    });
    written.inspect_err(|_| {
        let _ = fs::remove_file(&draft);
    })
}
