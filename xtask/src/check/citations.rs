//! Citations: a section sign belongs to a named document, each document in one version throughout.

use super::Finding;
use super::source::Source;

/// The documents that the sources cite by section.
const DOCUMENTS: [&str; 14] = [
    "VIRTIO 1.3",
    "ACPI 6.5",
    "SMBIOS 3.7",
    "PCI 3.0",
    "PCI Express 5.0",
    "PCI Firmware 3.3",
    "Intel SDM vol.",
    "AMD APM vol.",
    "82093AA",
    "16550D",
    "IEEE 802",
    "RFC ",
    "Debian Policy Manual 4.7",
    "ELF",
];
/// Documents whose sections move between versions.
const VERSIONED: [&str; 4] = ["VIRTIO", "ACPI", "PCI", "SMBIOS"];

/// Section signs without a document, and documents in another version.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let mut before = "";
        for (index, line) in source.text.lines().enumerate() {
            if is_comment(line) {
                findings
                    .extend(wrong(before, line).map(|what| Finding::new(source.line(index), what)));
            }
            before = line;
        }
    }
    findings
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//") || line.contains(" // ")
}

/// What is wrong with the citations in `line`, which follows the line `before`.
fn wrong(before: &str, line: &str) -> Option<String> {
    let text = format!(
        "{before} {}",
        line.trim_start().trim_start_matches(['/', '!', ' '])
    );
    let at = text.find('§').filter(|_| line.contains('§'));
    if let Some(at) = at
        && !DOCUMENTS
            .iter()
            .any(|document| text[..at].contains(document))
    {
        return Some("cites a section of no known document".into());
    }
    let other = VERSIONED.iter().find_map(|name| {
        let rest = line.split_once(&format!("{name} "))?.1;
        let version: String = rest
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        let version = version.trim_end_matches('.');
        let cited = version.contains('.').then(|| format!("{name} {version}"))?;
        (!DOCUMENTS.contains(&&*cited)).then_some(cited)
    });
    other.map(|cited| format!("cites `{cited}`, not the version used throughout"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<Finding> {
        check(&[Source::new("devices/src/a.rs", text)])
    }

    #[test]
    fn a_section_needs_a_document() {
        assert_eq!(findings("//! The ring (§2.7.5).\n").len(), 1);
        assert_eq!(
            findings("//! The ring (VIRTIO 1.3 §2.7.5, §2.7.6).\n").len(),
            0
        );
        assert_eq!(
            findings("//! The ring (VIRTIO 1.3\n//! §2.7.5).\n").len(),
            0
        );
    }

    #[test]
    fn a_document_has_one_version() {
        assert_eq!(findings("// VIRTIO 1.1 §2.6.5\n").len(), 1);
        assert_eq!(findings("// ACPI 6.4 §5.2\n").len(), 1);
        assert_eq!(findings("// as ACPI 6.5 says\n").len(), 0);
        assert_eq!(findings("let x = \"VIRTIO 1.1\";\n").len(), 0);
    }
}
