//! Cards: what is known of published models. Each is a TOML file under `models/cards/`, embedded at build time, so that
//! a new model of the family needs a new file and no code.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};

use super::{CheckpointError, Naming};
use crate::vit::{Config, Preprocess};

static CARDS: Dir = include_dir!("$CARGO_MANIFEST_DIR/models/cards");

/// What is known of one published model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Name used in commands: the file name without `.toml`.
    #[serde(skip_deserializing)]
    pub name: String,
    /// Human-readable name.
    pub title: String,
    /// Number of parameters of the backbone: the values in [`Card::tensors`].
    pub parameters: u64,
    /// timm's names of this model, as a `config.json` may state them.
    pub timm: Vec<String>,
    /// Naming scheme of the published tensors.
    pub naming: Naming,
    /// Other namings under which a checkpoint of this architecture is the same model.
    pub also: Vec<Naming>,
    /// Multiply-accumulates per image, indexed by the side of a square input in pixels.
    pub macs: BTreeMap<String, u64>,
    /// The architecture.
    pub architecture: Config,
    /// Preprocessing of pixels.
    pub preprocess: Preprocess,
    /// Where the publisher distributes the weights.
    pub download: Vec<Link>,
    /// The licence of the weights.
    pub licence: Link,
    /// Published quality; empty for the built-in backbone, whose quality `microraptor demo` measures.
    pub quality: Vec<Quality>,
    /// SHA-256, in lower-case hex, of files that are this model; they are recognised without a `config.json`.
    #[serde(default)]
    pub sha256: Vec<String>,
    /// Shape of each tensor, indexed by its name in the file; `{i}` stands for the block index.
    pub tensors: BTreeMap<String, Vec<usize>>,
}

/// A name and a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What the URL points to.
    pub name: String,
    /// The URL.
    pub url: String,
}

/// One published figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// Data set and task.
    pub task: String,
    /// What was measured, with its unit.
    pub metric: String,
    /// The figure.
    pub value: f64,
    /// Where it is published.
    pub source: String,
}

/// All cards, by name.
///
/// ```
/// let names: Vec<&str> = microraptor::checkpoint::cards().iter().map(|card| card.name.as_str()).collect();
/// assert!(names.contains(&"dinov3-vits16"));
/// ```
pub fn cards() -> &'static [Card] {
    static PARSED: OnceLock<Vec<Card>> = OnceLock::new();
    PARSED.get_or_init(|| {
        let mut cards: Vec<Card> = CARDS
            .files()
            .filter_map(|file| {
                let name = file.path().to_str()?.strip_suffix(".toml")?;
                // The cards are embedded in the program, and a test parses each of them.
                let text = file.contents_utf8().expect("a card is UTF-8");
                Some(Card::parse(name, text).unwrap_or_else(|e| panic!("models/cards/{name}.toml: {e}")))
            })
            .collect();
        cards.sort_by(|a, b| a.name.cmp(&b.name));
        cards
    })
}

impl Card {
    fn parse(name: &str, text: &str) -> Result<Card, toml::de::Error> {
        let mut card: Card = toml::from_str(text)?;
        card.name = name.to_owned();
        Ok(card)
    }

    /// The card called `name`.
    ///
    /// # Errors
    /// [`CheckpointError::UnknownCard`] lists the existing names.
    pub fn by_name(name: &str) -> Result<&'static Card, CheckpointError> {
        cards().iter().find(|card| card.name == name).ok_or_else(|| {
            let known = cards().iter().map(|card| card.name.as_str()).collect::<Vec<_>>().join(", ");
            CheckpointError::UnknownCard { name: name.to_owned(), known }
        })
    }

    /// The card that lists this SHA-256.
    pub(super) fn of_bytes(sha256: &str) -> Option<&'static Card> {
        cards().iter().find(|card| card.sha256.iter().any(|known| known == sha256))
    }

    /// The card of a checkpoint: same architecture, a naming under which the model is distributed and, if a
    /// `config.json` of timm names the model, that name. Shapes do not reveal how the weights were trained:
    /// BiomedCLIP's tower has the same shapes as every other ViT-B/16.
    pub(super) fn describing(config: &Config, naming: Naming, timm: Option<&str>) -> Option<&'static Card> {
        cards().iter().find(|card| {
            card.architecture == *config
                && (card.naming == naming || card.also.contains(&naming))
                && timm.is_none_or(|name| card.timm.iter().any(|known| known == name))
        })
    }

    /// Every tensor with its shape, with patterns expanded for each block.
    pub fn expanded_tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut tensors = Vec::new();
        for (pattern, shape) in &self.tensors {
            let blocks = if pattern.contains("{i}") { self.architecture.depth } else { 1 };
            tensors.extend((0..blocks).map(|i| (pattern.replace("{i}", &i.to_string()), shape.clone())));
        }
        tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vit::Size;

    const NAMES: [&str; 7] = [
        "biomedclip-vitb16",
        "deit-tiny",
        "demo",
        "dinov3-vitb16",
        "dinov3-vitl16",
        "dinov3-vits16",
        "dinov3-vits16plus",
    ];

    #[test]
    fn every_file_is_a_card_with_a_valid_architecture() {
        let names: Vec<&str> = cards().iter().map(|card| card.name.as_str()).collect();
        for name in NAMES {
            assert!(names.contains(&name), "{name} is not among {names:?}");
            assert_eq!(Card::by_name(name).unwrap().name, name);
        }
        for card in cards() {
            card.architecture.validate().unwrap();
            assert!(!card.download.is_empty(), "{}", card.name);
            assert!(!card.quality.is_empty() || card.name == "demo", "{}", card.name);
            assert!(card.quality.iter().all(|q| !q.source.is_empty()), "{}", card.name);
            assert!(!card.also.contains(&card.naming), "{}", card.name);
        }
    }

    #[test]
    fn multiply_accumulates_and_parameters_are_those_of_the_architecture() {
        for card in cards() {
            assert!(card.macs.contains_key("224") && card.macs.contains_key("512"), "{}", card.name);
            for (size, macs) in &card.macs {
                let size: Size = size.parse().unwrap();
                assert_eq!(card.architecture.macs(size), Ok(*macs), "{} at {size}", card.name);
            }
            let sum: usize =
                card.expanded_tensors().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
            assert_eq!(sum as u64, card.parameters, "{}", card.name);
            assert_eq!(card.architecture.parameters() as u64, card.parameters, "{}", card.name);
        }
    }

    #[test]
    fn an_unknown_key_or_name_is_an_error() {
        let text = CARDS.get_file("deit-tiny.toml").unwrap().contents_utf8().unwrap();
        assert!(Card::parse("deit-tiny", text).is_ok());
        let error = Card::parse("deit-tiny", &format!("colour = \"red\"\n{text}")).unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
        let error = Card::by_name("deit-huge").unwrap_err().to_string();
        assert!(error.contains("'deit-huge'") && error.contains("dinov3-vits16"), "{error}");
    }

    #[test]
    fn the_same_shapes_under_another_name_are_another_model() {
        let base = Card::by_name("biomedclip-vitb16").unwrap();
        let config = &base.architecture;
        assert_eq!(Card::describing(config, Naming::OpenClip, None), Some(base));
        assert_eq!(Card::describing(config, Naming::Timm, None), None);
        let deit = &Card::by_name("deit-tiny").unwrap().architecture;
        assert!(Card::describing(deit, Naming::Timm, Some("deit_tiny_patch16_224")).is_some());
        assert_eq!(Card::describing(deit, Naming::Timm, Some("vit_tiny_patch16_224")), None);
    }
}
