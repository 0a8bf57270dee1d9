//! The recipe of an image: the layers of `recipe/layers.toml` that a variant names, put together.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::variant::Variant;

const TABLE: &str = include_str!("../../recipe/layers.toml");

/// Why there is no recipe.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The table of layers cannot be read.
    #[error("the table of image layers is not valid")]
    Table(#[source] toml::de::Error),
    /// A variant names a layer that the table does not have.
    #[error("variant `{variant}` names an unknown image layer `{layer}`")]
    Layer {
        /// The variant.
        variant: String,
        /// The layer.
        layer: String,
    },
}

/// What goes into an image besides the base system, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recipe {
    /// Packages to install.
    pub(super) packages: Vec<String>,
    /// Files to write, in order.
    pub(super) files: Vec<RecipeFile>,
    /// Units to enable.
    pub(super) enable: Vec<String>,
    /// Units to mask.
    pub(super) mask: Vec<String>,
    /// Unit generators to mask.
    pub(super) mask_generators: Vec<String>,
    /// Scripts to run in the image, in order, before units are enabled.
    pub(super) scripts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    layer: BTreeMap<String, Layer>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Layer {
    packages: Vec<String>,
    enable: Vec<String>,
    unmask: Vec<String>,
    mask_generators: Vec<String>,
    script: String,
    mask: Vec<Mask>,
    file: Vec<RecipeFile>,
}

/// Units that are not wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mask {
    /// Why they are not; for those who read the table and its documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers"))]
    reason: String,
    units: Vec<String>,
}

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecipeFile {
    /// Where it goes.
    pub(super) path: String,
    /// Its permissions in octal digits.
    #[serde(default = "readable")]
    pub(super) mode: String,
    /// What is in it.
    pub(super) text: String,
}

fn readable() -> String {
    "0644".to_owned()
}

impl Recipe {
    /// The recipe of `variant`.
    pub(super) fn of(variant: &Variant) -> Result<Self, RecipeError> {
        let table: Table = toml::from_str(TABLE).map_err(RecipeError::Table)?;
        let mut recipe = Self::default();
        for name in &variant.layers {
            let layer = table.layer.get(name).ok_or_else(|| RecipeError::Layer {
                variant: variant.name.clone(),
                layer: name.clone(),
            })?;
            recipe.add(layer, variant);
        }
        Ok(recipe)
    }

    fn add(&mut self, layer: &Layer, variant: &Variant) {
        self.packages.extend(layer.packages.iter().cloned());
        self.enable.extend(layer.enable.iter().cloned());
        self.mask.extend(
            layer
                .mask
                .iter()
                .flat_map(|mask| mask.units.iter().cloned()),
        );
        self.mask.retain(|unit| !layer.unmask.contains(unit));
        self.mask_generators
            .extend(layer.mask_generators.iter().cloned());
        if !layer.script.is_empty() {
            self.scripts.push(fill(&layer.script, variant));
        }
        self.files.extend(layer.file.iter().map(|file| RecipeFile {
            text: fill(&file.text, variant),
            ..file.clone()
        }));
    }
}

/// Puts the variant's own names into a text of the table.
fn fill(text: &str, variant: &Variant) -> String {
    let (user, password) = match &variant.debug_logins.console {
        Some(login) => (login.user.as_str(), login.password.as_str()),
        None => ("root", "*"),
    };
    text.replace("@HOSTNAME@", &variant.hostname)
        .replace("@USER@", user)
        .replace("@PASSWORD@", password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant;

    #[test]
    fn every_variant_has_a_recipe() {
        for variant in variant::all().unwrap() {
            let recipe = Recipe::of(&variant).unwrap();
            assert!(
                recipe.packages.contains(&"pcp".to_owned()),
                "{}",
                variant.name
            );
            for file in &recipe.files {
                assert!(file.path.starts_with('/'), "{}", file.path);
                assert!(
                    file.mode.bytes().all(|b| (b'0'..=b'7').contains(&b)),
                    "{}",
                    file.path
                );
                assert!(
                    file.text.ends_with('\n') && !file.text.contains("@HOST"),
                    "{}",
                    file.path
                );
            }
        }
    }

    #[test]
    fn a_variant_offers_no_unit_that_its_layers_neither_enable_nor_leave_a_slot_for() {
        for variant in variant::all().unwrap() {
            let recipe = Recipe::of(&variant).unwrap();
            for service in variant.services {
                let enabled = recipe.enable.contains(&service.unit);
                assert!(
                    enabled || service.slot.is_some(),
                    "{}: {}",
                    variant.name,
                    service.unit
                );
                assert!(!recipe.mask.contains(&format!("{}.service", service.unit)));
            }
        }
    }

    #[test]
    fn the_variants_own_names_are_filled_in() {
        let recipe = Recipe::of(&variant::find("eval").unwrap()).unwrap();
        let hostname = recipe
            .files
            .iter()
            .find(|file| file.path == "/etc/hostname")
            .unwrap();
        assert_eq!(hostname.text, "pcp-eval-vm\n");
        assert!(recipe.scripts[0].contains("echo 'root:pcp' | chpasswd"));
    }

    #[test]
    fn a_layer_can_bring_back_what_another_masks() {
        let masked = |name: &str| Recipe::of(&variant::find(name).unwrap()).unwrap().mask;
        let tracing = "sys-kernel-tracing.mount".to_owned();
        assert!(masked("base").contains(&tracing));
        assert!(!masked("bpf").contains(&tracing));
    }

    #[test]
    fn every_masked_unit_is_documented_with_its_reason() {
        let document = include_str!("../../../docs/image.md");
        let table: Table = toml::from_str(TABLE).unwrap();
        for mask in table.layer.values().flat_map(|layer| &layer.mask) {
            let row = document
                .lines()
                .find(|line| line.starts_with(&format!("| {} |", mask.reason)));
            let row = row.unwrap_or_else(|| panic!("no row for: {}", mask.reason));
            for unit in &mask.units {
                assert!(row.contains(&format!("`{unit}`")), "{unit}");
            }
        }
    }

    #[test]
    fn an_unknown_layer_is_named() {
        let mut variant = variant::find("base").unwrap();
        variant.layers.push("colour".to_owned());
        let message = Recipe::of(&variant).unwrap_err().to_string();
        assert_eq!(
            message,
            "variant `base` names an unknown image layer `colour`"
        );
    }
}
