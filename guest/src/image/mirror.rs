//! Where packages come from: the Debian mirror that the machine's own apt uses.

use super::error::ImageError;
use super::program::Host;

/// The archive keys that a Debian machine has.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The lines of a `sources.list` for `suite`.
///
/// # Errors
/// If no mirror is given and apt knows none.
pub(crate) fn sources(
    host: &Host,
    suite: &str,
    mirror: Option<&str>,
) -> Result<Vec<String>, ImageError> {
    if let Some(mirror) = mirror {
        return Ok(vec![format!("deb {mirror} {suite} main")]);
    }
    let targets = host
        .program("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(ORIGIN)|$(LABEL)|$(SITE)",
            "Created-By: Packages",
        ])
        .output()?;
    let lines = from_targets(&targets, suite);
    if lines.is_empty() {
        Err(ImageError::NoMirror)
    } else {
        Ok(lines)
    }
}

/// The lines for `suite` from apt's `ORIGIN|LABEL|SITE` of each index.
fn from_targets(targets: &str, suite: &str) -> Vec<String> {
    let site = |wanted: &str| {
        targets.lines().find_map(|line| {
            let mut parts = line.splitn(3, '|');
            let debian = parts.next() == Some("Debian") && parts.next() == Some(wanted);
            parts.next().filter(|_| debian)
        })
    };
    let Some(main) = site("Debian") else {
        return Vec::new();
    };
    let mut lines = vec![format!("deb {main} {suite} main")];
    // The development suites have neither updates nor security, nor have backports and the like, with a `-` in their names.
    if !["sid", "unstable", "experimental"].contains(&suite) && !suite.contains('-') {
        lines.push(format!("deb {main} {suite}-updates main"));
        if let Some(security) = site("Debian-Security") {
            lines.push(format!("deb {security} {suite}-security main"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "\
Other|Other|https://packages.example.com/apt
Debian|Debian|http://mirror.example.org/debian
Debian|Debian|http://second.example.org/debian
Debian|Debian-Security|http://mirror.example.org/debian-security
";

    #[test]
    fn the_machines_own_mirror_is_taken() {
        assert_eq!(
            from_targets(TARGETS, "trixie"),
            [
                "deb http://mirror.example.org/debian trixie main",
                "deb http://mirror.example.org/debian trixie-updates main",
                "deb http://mirror.example.org/debian-security trixie-security main",
            ]
        );
    }

    #[test]
    fn development_and_backports_have_one_source() {
        for suite in ["sid", "trixie-backports"] {
            let lines = from_targets(TARGETS, suite);
            let line = format!("deb http://mirror.example.org/debian {suite} main");
            assert_eq!(lines, [line]);
        }
    }

    #[test]
    fn without_debian_there_is_no_source() {
        assert!(from_targets("Other|Debian|http://example.com\n", "trixie").is_empty());
    }

    #[test]
    fn a_given_mirror_needs_no_apt() {
        let lines = sources(
            &Host::new("".as_ref(), false),
            "trixie",
            Some("file:///srv/debian"),
        )
        .unwrap();
        assert_eq!(lines, ["deb file:///srv/debian trixie main"]);
    }
}
