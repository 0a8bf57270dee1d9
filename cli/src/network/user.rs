//! Whose the TAP is.

use std::fmt;

use super::tool::run;
use crate::env;

/// A user of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// The number.
    pub(crate) uid: u32,
    name: Option<String>,
}

impl User {
    /// The user called `name`, or of that number.
    pub(crate) fn called(name: &str) -> Result<Self, String> {
        if let Ok(uid) = name.parse() {
            return Ok(Self::of(uid));
        }
        let uid = ask(&["-u", "--", name]).and_then(|text| text.parse().ok());
        let uid = uid.ok_or_else(|| format!("there is no user `{}`", name.escape_debug()))?;
        Ok(Self {
            uid,
            name: Some(name.to_owned()),
        })
    }

    /// Who runs this program, `sudo` left out.
    pub(crate) fn caller() -> Self {
        let own = rustix::process::geteuid();
        let behind = env::get(env::SUDO_UID).filter(|_| own.is_root());
        let behind = behind.and_then(|uid| uid.to_str()?.parse().ok());
        Self::of(behind.unwrap_or(own.as_raw()))
    }

    fn of(uid: u32) -> Self {
        let name = ask(&["-un", "--", &uid.to_string()]).filter(|name| !name.is_empty());
        Self { uid, name }
    }

    /// The groups, the first one first.
    pub(super) fn groups(&self) -> Vec<u32> {
        let text = ask(&["-G", "--", &self.uid.to_string()]).unwrap_or_default();
        let groups = text
            .split_ascii_whitespace()
            .filter_map(|it| it.parse().ok());
        groups.collect()
    }

    /// Whether `ip` means this user by `name`.
    pub(super) fn is(&self, name: Option<&str>) -> bool {
        match name {
            // Without an owner a TAP is for those with CAP_NET_ADMIN.
            None => self.uid == 0,
            Some(name) => Some(name) == self.name.as_deref() || name.parse() == Ok(self.uid),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "user {}", self.uid),
        }
    }
}

/// What `id` says.
fn ask(words: &[&str]) -> Option<String> {
    let words: Vec<String> = ["id"]
        .iter()
        .chain(words)
        .map(|&it| it.to_owned())
        .collect();
    run(&words).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_name_or_a_number() {
        let root = User::called("root").unwrap();
        assert_eq!((root.uid, root.to_string().as_str()), (0, "root"));
        assert!(root.is(Some("root")) && root.is(None) && root.is(Some("0")));
        let nobody = User::called("4000000").unwrap();
        assert_eq!(nobody.to_string(), "user 4000000");
        assert!(nobody.is(Some("4000000")) && !nobody.is(None));
        assert!(User::called("no such user").is_err());
    }
}
