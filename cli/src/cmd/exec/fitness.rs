//! Whether a kernel can run commands at all, told before it is started.

use std::path::Path;

use guest::kernel_config::{Importance, KernelConfig, Need, Purpose, Setting};
use guest::modules::ModuleTree;

use crate::diagnostic::Diagnostic;
use crate::kernel_image::config;

/// Refuses the kernel `image` if it lacks something that every command takes, as far as its modules or its configuration tell.
pub(super) fn check<'v>(
    image: &Path,
    tree: Option<&ModuleTree>,
    version: impl FnOnce() -> Option<&'v str>,
) -> Result<(), Diagnostic> {
    let lacking = match tree {
        Some(tree) => {
            let lacking = Purpose::Exec.lacking(tree);
            if lacking.is_empty() {
                return Ok(());
            }
            let found = config::beside(image, version());
            let config = found.map(|it| it.config).unwrap_or_default();
            parted(&config, lacking)
        }
        None => {
            let Some(found) = config::beside(image, version()) else {
                return Ok(());
            };
            let needed = Purpose::Exec.needs();
            let lacking = needed.filter(|need| {
                need.importance == Importance::Needed
                    && matches!(found.config.get(need.option), None | Some(Setting::Module))
            });
            parted(&found.config, lacking)
        }
    };
    lacking.refusal(image).map_or(Ok(()), Err)
}

/// What a kernel lacks.
#[derive(Debug, Default)]
struct Lacking {
    /// Options that it was built without.
    options: Vec<String>,
    /// Modules that are not where its modules are.
    modules: Vec<&'static str>,
}

fn parted(config: &KernelConfig, needs: impl IntoIterator<Item = &'static Need>) -> Lacking {
    let mut lacking = Lacking::default();
    for need in needs {
        match (config.get(need.option), need.module) {
            (Some(Setting::Module), Some(name)) => lacking.modules.push(name),
            _ => {
                let told = format!("CONFIG_{} ({})", need.option, need.reason);
                lacking.options.push(told);
            }
        }
    }
    lacking
}

impl Lacking {
    fn refusal(self, image: &Path) -> Option<Diagnostic> {
        if self.options.is_empty() && self.modules.is_empty() {
            return None;
        }
        let what = format!("the kernel `{}` cannot run commands", image.display());
        let mut diagnostic = Diagnostic::failure("kernel", what);
        if !self.options.is_empty() {
            let options = self.options.join(", ");
            diagnostic = diagnostic.cause(format!("it was built without {options}"));
        }
        if !self.modules.is_empty() {
            let modules = self.modules.join(", ");
            diagnostic = diagnostic
                .cause(format!("its modules {modules} are not there"))
                .hint("`--modules DIR` names the folder with `modules.dep`");
        }
        Some(diagnostic.hint(
            "`pcp-vmm kernel check` tells what a kernel has; `pcp-vmm kernel add 6.12` fetches one that has all",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A folder with a kernel, the named files, and modules if `dep` says which.
    fn refused(files: &[(&str, &str)], dep: Option<&str>) -> Option<Diagnostic> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let tree = dep.map(|dep| {
            fs::write(folder.path().join("modules.dep"), dep).unwrap();
            ModuleTree::open(folder.path()).unwrap()
        });
        let image: PathBuf = folder.path().join("vmlinuz");
        check(&image, tree.as_ref(), || None).err()
    }

    const BUILTIN: (&str, &str) = (
        "modules.builtin",
        "kernel/virtio_pci.ko\nkernel/overlay.ko\n",
    );

    #[test]
    fn an_option_that_is_missing_is_named_with_its_purpose() {
        let dep = "kernel/vmw_vsock_virtio_transport.ko:\n";
        let diagnostic = refused(&[BUILTIN], Some(dep)).unwrap();
        assert_eq!(
            diagnostic.causes,
            ["it was built without CONFIG_VIRTIO_FS (the root, a share)"]
        );
        let whole = format!("{dep}kernel/virtiofs.ko:\n");
        assert!(refused(&[BUILTIN], Some(&whole)).is_none());
    }

    #[test]
    fn a_module_that_is_missing_is_told_from_an_option() {
        let config = ("config", "CONFIG_VIRTIO_FS=m\n");
        let diagnostic = refused(&[BUILTIN, config], Some("")).unwrap();
        assert_eq!(
            diagnostic.causes,
            [
                "it was built without CONFIG_VIRTIO_VSOCKETS (the way to the host: the command's streams and its end)",
                "its modules virtiofs are not there"
            ]
        );
    }

    #[test]
    fn without_modules_all_is_built_in_or_nothing_is_known() {
        assert!(refused(&[], None).is_none());
        let needs = Purpose::Exec.needs();
        let all: String = needs
            .map(|it| format!("CONFIG_{}=y\n", it.option))
            .collect();
        assert!(refused(&[("config", &all)], None).is_none());
        let text = all.replace("OVERLAY_FS=y", "OVERLAY_FS=m");
        let diagnostic = refused(&[("config", &text)], None).unwrap();
        assert_eq!(diagnostic.causes, ["its modules overlay are not there"]);
    }
}
