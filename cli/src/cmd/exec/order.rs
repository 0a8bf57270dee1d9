//! What the agent is told to run.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use guest::wire::{Network, Order, Size};
use rustix::fs::fstat;
use rustix::process::{getegid, geteuid, getgroups};
use vmm::config::{USER_DNS, USER_GATEWAY, USER_GUEST, USER_NETMASK};

use super::places::Places;
use crate::args::{ExecArgs, ExecNet};
use crate::diagnostic::Diagnostic;

/// The guest's name.
const HOSTNAME: &str = "pcp-vmm";
/// Its place in the user-mode network.
const NETWORK: Network = Network {
    address: USER_GUEST,
    netmask: USER_NETMASK,
    gateway: USER_GATEWAY,
    nameserver: USER_DNS,
};

/// What a command in a guest of its own kind finds where nothing else is said.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The order that `args` ask for in a VM that is there, in surroundings like those of a login.
pub(super) fn inside(args: &ExecArgs, terminal: Option<Size>) -> Result<Order, Diagnostic> {
    let (user, group, groups) = match &args.user {
        Some(text) => identity(Some(text))?,
        None => (0, 0, Vec::new()),
    };
    let home = if user == 0 { "/root" } else { "/" };
    let mut base = vec![("PATH", PATH.into()), ("HOME", home.into())];
    if terminal.is_some()
        && let Some(kind) = std::env::var_os("TERM")
    {
        base.push(("TERM", kind));
    }
    let base = base
        .into_iter()
        .map(|(name, value): (_, OsString)| (name.into(), value));
    let folder = args.cwd.as_deref().unwrap_or(Path::new("/"));
    if !folder.is_absolute() {
        let what = format!("`{}` is no folder of the guest", folder.display());
        return Err(Diagnostic::usage("cwd", what).hint("with `--in`, `--cwd` is an absolute path"));
    }
    Ok(Order {
        words: args.command.iter().map(bytes).collect(),
        environment: environment(base, &args.env),
        folder: folder.as_os_str().as_bytes().to_vec(),
        user,
        group,
        groups,
        terminal,
        one_output: terminal.is_none() && one_output(),
        ..Order::default()
    })
}

fn bytes(word: &OsString) -> Vec<u8> {
    word.as_bytes().to_vec()
}

/// The order that `args` ask for in a VM of its own, in the caller's surroundings where they say nothing.
pub(super) fn of(
    args: &ExecArgs,
    places: &Places,
    own: &[(OsString, OsString)],
    terminal: Option<Size>,
) -> Result<Order, Diagnostic> {
    let folder = match (&args.cwd, &args.root) {
        (Some(folder), None) => std::path::absolute(folder),
        (Some(folder), Some(_)) => Ok(Path::new("/").join(folder)),
        (None, Some(_)) => Ok("/".into()),
        (None, None) => std::env::current_dir(),
    };
    let folder = folder.map_err(|error| {
        Diagnostic::failure("folder", "there is no folder to start in").because(&error)
    })?;
    let (user, group, groups) = identity(args.user.as_deref())?;
    Ok(Order {
        words: args.command.iter().map(bytes).collect(),
        environment: environment(own.iter().cloned(), &args.env),
        folder: folder.as_os_str().as_bytes().to_vec(),
        user,
        group,
        groups,
        terminal,
        one_output: terminal.is_none() && one_output(),
        hostname: HOSTNAME.as_bytes().to_vec(),
        mounts: places.mounts(),
        links: places.links(),
        network: (args.net == ExecNet::User).then_some(NETWORK),
        stays: args.debug_shell_on_failure,
    })
}

/// Whether standard output and standard error are the same pipe or file: what the command writes then keeps its order.
fn one_output() -> bool {
    let of =
        |stat: rustix::io::Result<rustix::fs::Stat>| stat.ok().map(|it| (it.st_dev, it.st_ino));
    let (out, err) = (fstat(std::io::stdout()), fstat(std::io::stderr()));
    of(out).is_some_and(|out| of(err) == Some(out))
}

/// A shell in the surroundings of `order`, on its terminal.
pub(super) fn shell(order: &Order) -> Order {
    let own = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
    Order {
        words: vec![own.unwrap_or_else(|| "/bin/sh".into()).into_vec()],
        environment: order.environment.clone(),
        folder: order.folder.clone(),
        user: order.user,
        group: order.group,
        groups: order.groups.clone(),
        terminal: order.terminal,
        ..Order::default()
    }
}

/// The user, the group and the other groups that `text` means, or the caller's.
fn identity(text: Option<&str>) -> Result<(u32, u32, Vec<u32>), Diagnostic> {
    let Some(text) = text else {
        let groups = getgroups().unwrap_or_default();
        let groups = groups.into_iter().map(|it| it.as_raw()).collect();
        return Ok((geteuid().as_raw(), getegid().as_raw(), groups));
    };
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    match (user.parse(), group.parse()) {
        (Ok(user), Ok(group)) => Ok((user, group, Vec::new())),
        _ => Err(
            Diagnostic::usage("user", format!("`{}` is no user", text.escape_debug()))
                .hint("`--user` is a number, or two as in `1000:100`"),
        ),
    }
}

/// The environment `own`, changed as `changes` say: `NAME=VALUE` sets, `NAME` leaves out.
fn environment(
    own: impl Iterator<Item = (OsString, OsString)>,
    changes: &[OsString],
) -> Vec<Vec<u8>> {
    let name_of = |setting: &[u8]| {
        let end = setting.iter().position(|&byte| byte == b'=');
        setting
            .get(..end.unwrap_or(setting.len()))
            .unwrap_or_default()
            .to_vec()
    };
    let mut all: Vec<Vec<u8>> = own
        .map(|(name, value)| [name.into_vec(), b"=".to_vec(), value.into_vec()].concat())
        .collect();
    for change in changes.iter().map(|it| it.as_bytes()) {
        let name = name_of(change);
        all.retain(|setting| name_of(setting) != name);
        if change.contains(&b'=') {
            all.push(change.to_vec());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_and_left_out() {
        let own = [("A", "1"), ("B", "2=3"), ("C", "")];
        let own = own.map(|(name, value)| (name.into(), value.into()));
        let changes = ["A=new=x", "C", "D=", "E"].map(OsString::from);
        let made = environment(own.into_iter(), &changes);
        let made: Vec<_> = made.iter().map(|it| String::from_utf8_lossy(it)).collect();
        assert_eq!(made, ["B=2=3", "A=new=x", "D="]);
    }

    #[test]
    fn a_user_is_one_number_or_two() {
        assert_eq!(identity(Some("5")).ok(), Some((5, 5, vec![])));
        assert_eq!(identity(Some("5:6")).ok(), Some((5, 6, vec![])));
        for wrong in ["", "a", "1:", "1:2:3", "-1"] {
            assert!(identity(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
