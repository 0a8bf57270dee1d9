//! What the kernel offers to the sandbox of `run`.

use vmm::sandbox::support::Support;

use super::Check;

const NAME: &str = "sandbox";
/// The version of Landlock that has all that the sandbox uses (signals and abstract sockets).
const LANDLOCK: u32 = 6;

/// Judges what there is.
pub(super) fn check(support: Support) -> Check {
    if !support.filters {
        return Check::fail(
            NAME,
            "this kernel cannot filter system calls (seccomp)",
            "use a kernel with CONFIG_SECCOMP_FILTER; for now: `pcp-vmm run --sandbox off`",
        );
    }
    match support.landlock {
        Some(version) if version >= LANDLOCK => Check::ok(
            NAME,
            format!("system calls are filtered and files restricted (Landlock {version})"),
        ),
        Some(version) => Check::warn(
            NAME,
            format!(
                "system calls are filtered; this kernel's Landlock ({version}) restricts files only in part"
            ),
            "Linux 6.12 and later restrict files, sockets and signals",
        ),
        None => Check::warn(
            NAME,
            "system calls are filtered, but files not restricted: the kernel has no Landlock",
            "switch it on with the kernel parameter `lsm=landlock,...` (see `/sys/kernel/security/lsm`)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn less_than_all_is_a_warning_and_no_filters_are_a_failure() {
        let state = |filters, landlock| {
            let audit = filters;
            check(Support {
                filters,
                audit,
                landlock,
            })
            .state
        };
        assert_eq!(state(true, Some(7)), State::Ok);
        assert_eq!(state(true, Some(5)), State::Warn);
        assert_eq!(state(true, None), State::Warn);
        assert_eq!(state(false, Some(7)), State::Fail);
    }
}
