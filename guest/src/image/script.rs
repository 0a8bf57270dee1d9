//! The shell script that turns a tree of packages into a guest: it runs inside the tree, as root.

use super::recipe::Recipe;

/// Ends the here-documents; no file of a recipe has this as a line.
const END: &str = "END-OF-FILE-OF-THE-RECIPE";

/// The script for `recipe`. It stops at the first command that fails.
pub(super) fn customize(recipe: &Recipe) -> String {
    let mut script = String::from("set -eu\nexport LC_ALL=C DEBIAN_FRONTEND=noninteractive\n");
    for file in &recipe.files {
        let path = quote(&file.path);
        if let Some((folder, _)) = file.path.rsplit_once('/').filter(|(f, _)| !f.is_empty()) {
            script += &format!("mkdir -p {}\n", quote(folder));
        }
        // A link, such as Debian's /etc/resolv.conf may be, is replaced, not followed.
        script += &format!("rm -f {path}\ncat > {path} <<'{END}'\n{}", file.text);
        script += &format!("{END}\nchmod {} {path}\n", file.mode);
    }
    for (number, text) in recipe.scripts.iter().enumerate() {
        script += &format!(
            "echo 'running script {} of {}'\n",
            number + 1,
            recipe.scripts.len()
        );
        script += &format!("(\n{text})\n");
    }
    if !recipe.enable.is_empty() {
        let units: Vec<_> = recipe.enable.iter().map(|unit| quote(unit)).collect();
        script += &format!("systemctl enable {}\n", units.join(" "));
    }
    for unit in &recipe.mask {
        script += &format!(
            "ln -sfn /dev/null {}\n",
            quote(&format!("/etc/systemd/system/{unit}"))
        );
    }
    if !recipe.mask_generators.is_empty() {
        script += "mkdir -p /etc/systemd/system-generators\n";
    }
    for name in &recipe.mask_generators {
        let path = format!("/etc/systemd/system-generators/{name}");
        script += &format!("ln -sfn /dev/null {}\n", quote(&path));
    }
    // With these, units that look after a changed /usr know that all is done.
    script += "touch /etc/.updated /var/.updated\n";
    script
}

/// `text` as one word of a shell.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::image::recipe::RecipeFile;
    use crate::variant;

    #[test]
    fn a_quoted_text_is_one_word_for_the_shell() {
        for text in ["", "plain", "two words", "it's", "$HOME `id` \"x\" \\ *"] {
            let output = Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(text))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }

    #[test]
    fn the_scripts_of_all_variants_are_valid_shell() {
        for variant in variant::all().unwrap() {
            let script = customize(&Recipe::of(&variant).unwrap());
            let output = Command::new("sh")
                .args(["-n", "-c", &script])
                .output()
                .unwrap();
            assert!(output.status.success(), "{}: {output:?}", variant.name);
        }
    }

    #[test]
    fn files_are_written_as_they_are_and_links_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::os::unix::fs::symlink(at("elsewhere"), at("link")).unwrap();
        let text = "$HOME `id`\n\ttab 'quoted' \\n\n";
        let file = |path: String| RecipeFile {
            path,
            mode: "0750".into(),
            text: text.into(),
        };
        let recipe = Recipe {
            files: vec![file(at("new folder/it's")), file(at("link"))],
            ..Recipe::default()
        };
        let script = customize(&recipe).replace("touch ", "true ");
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            std::fs::read_to_string(at("new folder/it's")).unwrap(),
            text
        );
        assert_eq!(std::fs::read_to_string(at("link")).unwrap(), text);
        assert!(!std::path::Path::new(&at("elsewhere")).exists());
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(at("link")).unwrap());
        assert_eq!(mode & 0o777, 0o750);
    }

    #[test]
    fn a_failing_script_fails_the_whole() {
        let recipe = Recipe {
            scripts: vec!["false\necho on\n".to_owned()],
            ..Recipe::default()
        };
        let output = Command::new("sh")
            .args(["-c", &customize(&recipe)])
            .output()
            .unwrap();
        assert!(!output.status.success());
        assert!(
            !String::from_utf8(output.stdout).unwrap().contains("on\n"),
            "it goes no further"
        );
    }
}
