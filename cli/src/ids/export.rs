//! Assigned identifiers for other programs, as JSON or as an expression of Nix.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::{Documented, Pool, PoolName, Store, text};

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// An object.
    Json,
    /// An attribute set.
    Nix,
}

/// All that is assigned.
#[derive(Debug, Serialize)]
pub(crate) struct Export {
    ids: BTreeMap<String, BTreeMap<String, u64>>,
    #[serde(rename = "lastAssignments")]
    last: BTreeMap<String, u64>,
    /// The pools.
    idresources: BTreeMap<String, Pool>,
    /// What numbers stand for, where they do not say it themselves.
    values: BTreeMap<&'static str, BTreeMap<String, String>>,
}

impl Export {
    /// What `store` holds, with what the documented VMs have.
    pub(crate) fn of(store: &Store, documented: &[Documented]) -> Self {
        let prefix = store.mac_prefix();
        let mut ids = store.assignments.ids.clone();
        for vm in documented {
            for (pool, id) in &vm.ids {
                let of_pool = ids.entry(pool.as_str().to_owned()).or_default();
                of_pool.insert(vm.name.clone(), *id);
            }
        }
        let mut values = BTreeMap::new();
        for pool in [PoolName::Macs, PoolName::Addresses].map(PoolName::as_str) {
            let of_pool = ids.get(pool).into_iter().flatten();
            let told = of_pool.map(|(vm, id)| (vm.clone(), text(pool, *id, prefix)));
            let told: BTreeMap<String, String> = told.collect();
            values.insert(pool, told);
        }
        let macs = values.entry(PoolName::Macs.as_str()).or_default();
        macs.extend(
            documented
                .iter()
                .map(|vm| (vm.name.clone(), vm.mac.to_string())),
        );
        Self {
            ids,
            last: store.assignments.last.clone(),
            idresources: store.pools.all().clone(),
            values,
        }
    }

    /// The text, with the end of its last line.
    pub(crate) fn text(&self, format: ExportFormat) -> String {
        // Numbers and strings by name, which JSON can always hold.
        let value = serde_json::to_value(self).unwrap_or_default();
        let mut text = match format {
            ExportFormat::Json => serde_json::to_string_pretty(&value).unwrap_or_default(),
            ExportFormat::Nix => nix(&value, 0),
        };
        text.push('\n');
        text
    }
}

/// `value` as an expression (Nix Reference Manual, "Data Types"), `depth` levels deep.
fn nix(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) if fields.is_empty() => "{ }".to_owned(),
        Value::Object(fields) => {
            let mut text = "{\n".to_owned();
            for (name, value) in fields {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "{indent}  {} = {};",
                    quoted(name),
                    nix(value, depth + 1)
                );
            }
            text + &indent + "}"
        }
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace("${", "\\${");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::super::documented;
    use super::*;

    fn export() -> Export {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::read(folder.path()).unwrap();
        for pool in ["ports", "addresses", "macs"] {
            let range = store.pools.get(pool).unwrap();
            store
                .assignments
                .assign(pool, range, "web", |_| true)
                .unwrap();
        }
        Export::of(&store, &documented().unwrap())
    }

    #[test]
    fn json_has_what_is_assigned_and_what_is_documented() {
        let value: Value = serde_json::from_str(&export().text(ExportFormat::Json)).unwrap();
        assert_eq!(value["ids"]["ports"]["web"], 28_000);
        assert_eq!(value["ids"]["ports"]["pcp-eval-vm"], 22_122);
        assert_eq!(value["ids"]["consoles"]["pcp-bpf-vm"], 24_530);
        assert_eq!(value["lastAssignments"]["ports"], 28_000);
        assert_eq!(value["idresources"]["ports"]["max"], 32_767);
        assert_eq!(value["values"]["addresses"]["web"], "10.177.0.21");
        assert_eq!(value["values"]["macs"]["pcp-vm"], "02:00:00:0a:cb:01");
    }

    #[test]
    fn nix_has_the_same_as_an_attribute_set() {
        let text = export().text(ExportFormat::Nix);
        assert!(
            text.starts_with("{\n  \"idresources\" = {\n    \"addresses\" = {\n"),
            "{text}"
        );
        assert!(text.contains("      \"web\" = 28000;\n"), "{text}");
        assert!(text.ends_with("  };\n}\n"), "{text}");
        assert_eq!(
            nix(&serde_json::json!({"a${b}\"": "\\", "c": {}}), 0),
            "{\n  \"a\\${b}\\\"\" = \"\\\\\";\n  \"c\" = { };\n}"
        );
    }
}
