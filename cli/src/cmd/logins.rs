//! `pcp-vmm ssh-config` and `pcp-vmm inventory`: the way into the guests, for other programs.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vmm::instance::Entry;

use crate::args::{InventoryArgs, SshConfigArgs, TargetArgs};
use crate::diagnostic::Diagnostic;
use crate::exit::Exit;
use crate::instances::RuntimeDir;
use crate::output::{Output, Stop};
use crate::ssh::Login;
use crate::ssh_config::{self, Unfit};
use crate::vm_status::VmStatus;
use crate::whole_file;

/// Options of `ssh` for a guest that makes its host key at each start.
const COMMON_ARGS: &str = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";

/// Writes, shows or removes blocks of an ssh configuration.
pub(crate) fn ssh_config(
    args: &SshConfigArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    if args.remove {
        let file = Config::open(args.file.as_deref())?;
        let goes = |name: &str| args.all || args.names.iter().any(|it| it == name);
        let names = ssh_config::names(&file.text);
        let names = names.map_err(|unfit| file.unfit(&unfit))?;
        if let Some(name) = args.names.iter().find(|it| !names.contains(&it.as_str())) {
            let what = format!("`{}` has no block of `{name}`", file.path.display());
            return Err(Diagnostic::failure("ssh-config", what).into());
        }
        let text = ssh_config::without(&file.text, goes).map_err(|unfit| file.unfit(&unfit))?;
        file.replace(&text)?;
        return Ok(Exit::Success);
    }
    let target = TargetArgs {
        names: args.names.clone(),
        all: args.all,
    };
    let mut blocks = Vec::new();
    for (entry, login, _) in logins(&runtime.select(&target)?, args.all, output)? {
        let name = entry.name();
        let text = ssh_config::block(&name, &login).map_err(|unfit| {
            Diagnostic::failure("ssh-config", format!("cannot write a block for `{name}`"))
                .because(&unfit)
        })?;
        blocks.push((name, text));
    }
    if !args.write {
        if output.is_json() {
            let all: BTreeMap<String, String> = blocks.into_iter().collect();
            output.json(&all)?;
        } else {
            let text: String = blocks.iter().map(|(_, text)| text.as_str()).collect();
            output.data(text)?;
        }
        return Ok(Exit::Success);
    }
    let file = Config::open(args.file.as_deref())?;
    let runs = |name: &str| blocks.iter().any(|(known, _)| known == name);
    let kept = ssh_config::without(&file.text, |name| args.all && !runs(name));
    let text = kept.and_then(|kept| ssh_config::with(&kept, &blocks));
    file.replace(&text.map_err(|unfit| file.unfit(&unfit))?)?;
    for (name, _) in &blocks {
        output.note(format!("`ssh {name}` leads to its guest"));
    }
    Ok(Exit::Success)
}

/// Whether the user's configuration has a block of `name`.
pub(super) fn has_block(name: &str) -> Result<bool, Diagnostic> {
    let Some(file) = Config::of_user()? else {
        return Ok(false);
    };
    let names = ssh_config::names(&file.text);
    Ok(names.is_ok_and(|names| names.contains(&name)))
}

/// Removes the blocks of `names` from the user's configuration, where it has some.
pub(super) fn forget(names: &[String]) -> Result<(), Diagnostic> {
    let Some(file) = Config::of_user()? else {
        return Ok(());
    };
    let goes = |name: &str| names.iter().any(|it| it == name);
    let text = ssh_config::without(&file.text, goes).map_err(|unfit| file.unfit(&unfit))?;
    file.replace(&text)
}

/// Lists the VMs as Ansible reads them.
pub(crate) fn inventory(
    args: &InventoryArgs,
    runtime: &RuntimeDir,
    output: Output,
) -> Result<Exit, Stop> {
    if let Some(name) = &args.host {
        let entry = runtime.one(name)?;
        let found = logins(&[entry], false, output)?;
        let variables = found.first().map_or(Value::Null, variables);
        output.json(&variables)?;
        return Ok(Exit::Success);
    }
    let all = logins(&runtime.all()?, true, output)?;
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut hosts = serde_json::Map::new();
    for found in &all {
        let name = found.0.name();
        if let Some(variant) = &found.2.variant {
            let group = variant.replace('-', "_");
            groups.entry(group).or_default().push(name.clone());
        }
        hosts.insert(name, variables(found));
    }
    let names: Vec<&String> = hosts.keys().collect();
    let mut inventory = json!({ "all": { "hosts": names } });
    for (group, hosts) in groups {
        // A variant cannot take the name of the group of all.
        if group != "all" {
            inventory[group] = json!({ "hosts": hosts });
        }
    }
    inventory["_meta"] = json!({ "hostvars": hosts });
    output.json(&inventory)?;
    Ok(Exit::Success)
}

/// A VM with the way into its guest.
type Found = (Entry, Login, VmStatus);

/// The ways into the guests of `entries`. One without a way is an error, or, if it was not asked for by name (`some`), is told.
fn logins(entries: &[Entry], some: bool, output: Output) -> Result<Vec<Found>, Diagnostic> {
    let mut found = Vec::new();
    for entry in entries {
        let Some(status) = VmStatus::of(entry) else {
            continue;
        };
        match Login::of(entry, &status, None) {
            Ok(login) => found.push((entry.clone(), login, status)),
            Err(none) if some => {
                output.warn(format!("{}: {}", none.message, none.causes.join(": ")));
            }
            Err(none) => return Err(none),
        }
    }
    Ok(found)
}

/// The variables by which Ansible connects.
fn variables((_, login, status): &Found) -> Value {
    let address = login.address();
    let mut variables = json!({
        "ansible_host": address.ip().to_string(),
        "ansible_port": address.port(),
        "ansible_user": login.user(),
        "ansible_ssh_common_args": COMMON_ARGS,
    });
    if let Some(key) = login.key() {
        variables["ansible_ssh_private_key_file"] = key.to_string_lossy().into();
    } else if let Some(password) = login.password() {
        variables["ansible_password"] = password.into();
    }
    if let Some(variant) = &status.variant {
        variables["pcp_vmm_variant"] = variant.as_str().into();
    }
    variables
}

/// A user's configuration of ssh.
#[derive(Debug)]
struct Config {
    /// The file itself, not a link to it.
    path: PathBuf,
    text: String,
}

impl Config {
    /// That of the user, if there is a home for it.
    fn of_user() -> Result<Option<Self>, Diagnostic> {
        let home = env::home_dir().filter(|home| !home.as_os_str().is_empty());
        home.map(|_| Self::open(None)).transpose()
    }

    /// Opens `file`, else that of the user; one that is not there is empty.
    fn open(file: Option<&Path>) -> Result<Self, Diagnostic> {
        let path = match (file, env::home_dir()) {
            (Some(file), _) => file.to_path_buf(),
            (None, Some(home)) if !home.as_os_str().is_empty() => home.join(".ssh/config"),
            (None, _) => {
                return Err(Diagnostic::failure("ssh-config", "there is no home folder")
                    .hint("`--file FILE` names the configuration"));
            }
        };
        // People keep it elsewhere and link to it.
        let path = fs::canonicalize(&path).unwrap_or(path);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            other => other,
        };
        let text = text.map_err(|error| {
            let what = format!("cannot read `{}`", path.display());
            Diagnostic::failure("ssh-config", what).because(&error)
        })?;
        Ok(Self { path, text })
    }

    fn unfit(&self, unfit: &Unfit) -> Diagnostic {
        let what = format!("`{}` is left as it is", self.path.display());
        Diagnostic::failure("ssh-config", what).because(unfit)
    }

    /// Puts `text` in the file's place, whole or not at all.
    fn replace(&self, text: &str) -> Result<(), Diagnostic> {
        if text == self.text {
            return Ok(());
        }
        self.write(text).map_err(|error| {
            let what = format!("cannot write `{}`", self.path.display());
            Diagnostic::failure("ssh-config", what).because(&error)
        })
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // ssh refuses a folder that others may write to.
        let mut make = fs::DirBuilder::new();
        make.recursive(true).mode(0o700).create(folder)?;
        whole_file::write(&self.path, text.as_bytes(), 0o600)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_configuration_is_made_replaced_behind_its_link_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ssh/config");
        let file = Config::open(Some(&path)).unwrap();
        file.replace("Host a\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "Host a\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let file = Config::open(Some(&link)).unwrap();
        file.replace("Host b\n").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "Host b\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        let files = fs::read_dir(folder.path().join("ssh")).unwrap().count();
        assert_eq!(files, 1, "nothing half-done is left");
    }

    #[test]
    fn a_configuration_that_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let error = Config::open(Some(folder.path())).unwrap_err();
        assert!(error.message.contains("cannot read"), "{error:?}");
    }
}
