//! Shared folders: 9p by QEMU itself, virtio-fs by another process.

use super::Translator;
use super::chardev::Place;
use super::keys::Keys;

/// The folders that devices name.
#[derive(Debug, Default)]
pub(super) struct Shares {
    folders: Vec<Folder>,
}

/// `-fsdev local`.
#[derive(Debug)]
struct Folder {
    id: String,
    /// What follows `TAG=` in the value of `--share`.
    share: String,
    row: usize,
    used: bool,
}

/// The rest of a share's value, from the keys of `-fsdev` and `-virtfs`.
fn share(keys: &mut Keys) -> Result<String, String> {
    let driver = keys.take("fsdriver").unwrap_or_default();
    if driver != "local" {
        return Err(format!(
            "`{driver}` is not local, the only kind that there is"
        ));
    }
    let path = keys
        .take("path")
        .ok_or("it has no `path`")?
        .replace(',', ",,");
    let security = match keys.take("security_model").as_deref() {
        Some(model @ ("none" | "passthrough")) => model.to_owned(),
        Some("mapped" | "mapped-xattr") => "mapped-xattr".to_owned(),
        Some(other) => {
            return Err(format!(
                "`security_model={other}` is none of none, passthrough and mapped-xattr"
            ));
        }
        None => return Err("it has no `security_model`".to_owned()),
    };
    let read_only = keys.take_switch("readonly")?.unwrap_or(false);
    let read_only = if read_only { ",ro" } else { "" };
    // Names of one folder lie on one device here, and modes are the files' own.
    keys.drop_all(&["multidevs", "fmode", "dmode", "writeout"]);
    Ok(format!("{path}{read_only},proto=9p,security={security}"))
}

impl Translator {
    /// `-fsdev`.
    pub(super) fn fsdev(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "fsdriver")?;
        let id = keys.take("id").ok_or("it has no `id`")?;
        let share = share(&mut keys)?;
        keys.end()?;
        self.shares.folders.push(Folder {
            id,
            share,
            row,
            used: false,
        });
        Ok(())
    }

    /// `-device virtio-9p-…`.
    pub(super) fn virtio_9p(&mut self, row: usize, keys: &mut Keys) -> Result<(), String> {
        let id = keys.take("fsdev").ok_or("it has no `fsdev`")?;
        let tag = keys.take("mount_tag").ok_or("it has no `mount_tag`")?;
        let mut all = self.shares.folders.iter_mut();
        let folder = all.find(|folder| folder.id == id);
        let folder = folder.ok_or_else(|| format!("there is no folder `{id}` (`-fsdev`)"))?;
        folder.used = true;
        let (share, of) = (folder.share.clone(), folder.row);
        self.table
            .note(of, format!("the folder that the guest knows as `{tag}`"));
        self.table.flag(row, "--share", &format!("{tag}={share}"));
        self.table.note(row, "a shared folder over 9p");
        Ok(())
    }

    /// `-virtfs`: folder and device in one.
    pub(super) fn virtfs(&mut self, row: usize, value: &str) -> Result<(), String> {
        let mut keys = Keys::parse(value, "fsdriver")?;
        keys.drop_all(&["id"]);
        let tag = keys.take("mount_tag").ok_or("it has no `mount_tag`")?;
        let share = share(&mut keys)?;
        keys.end()?;
        self.table.flag(row, "--share", &format!("{tag}={share}"));
        self.table.note(row, "a shared folder over 9p");
        Ok(())
    }

    /// `-device vhost-user-fs-…`.
    pub(super) fn vhost_user_fs(&mut self, row: usize, keys: &mut Keys) -> Result<(), String> {
        let id = keys.take("chardev").ok_or("it has no `chardev`")?;
        let tag = keys.take("tag").ok_or("it has no `tag`")?;
        keys.drop_all(&["queue-size", "num-request-queues"]);
        match self.place_of(&id, "a shared folder")? {
            Place::Unix {
                path,
                listens: false,
            } => {
                let path = path.replace(',', ",,");
                self.table
                    .flag(row, "--share", &format!("{tag}={path},proto=vhost-user"));
                self.table
                    .note(row, "a shared folder by another process, over virtio-fs");
                Ok(())
            }
            _ => Err(format!(
                "character device `{id}` is no Unix socket that is connected to"
            )),
        }
    }

    /// Says which folders nobody uses.
    pub(super) fn finish_shares(&mut self) {
        let unused = self.shares.folders.iter().filter(|folder| !folder.used);
        for row in unused.map(|folder| folder.row) {
            self.table.note(row, "nothing: no device uses it");
        }
    }
}
