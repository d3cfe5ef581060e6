//! What only the manufacturer knows: a TOML file of text, one entry for each name in [`FIELDS`].

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use microraptor::files;

use super::blocks::Block;

/// Most bytes of the file.
const MAX_BYTES: u64 = 64 << 10;

/// Names of the entries, and what each is to say.
const FIELDS: [(&str, &str, &str); 16] = [
    ("name", "Name", "name of the product or head"),
    ("developer", "Developer", "person or organisation that made the head and answers for it"),
    ("version", "Version and date", "version and date of the head"),
    ("contact", "Contact", "where questions and faults are reported"),
    ("licence", "Licence of the head", "licence of the head, and terms of the training data that bind it"),
    ("citation", "Citation", "paper or report that describes it"),
    (
        "primary_uses",
        "Primary intended uses",
        "question that the answers are for, and at which step of care or work",
    ),
    ("primary_users", "Primary intended users", "who reads the answers, and what they must know"),
    ("out_of_scope", "Out of scope", "uses, devices and patients for which it must not be used"),
    (
        "factors",
        "Relevant factors",
        "groups of patients, devices, sites and settings that may change its performance",
    ),
    (
        "evaluation_data",
        "Evaluation data",
        "where the evaluation images come from, how they were chosen and labelled, and whether any patient is also in the training data",
    ),
    (
        "training_data",
        "Training data",
        "where the training images come from, how they were chosen and labelled, by whom, and under which consent",
    ),
    (
        "patient_grouping",
        "Grouping by patient",
        "whether all images of a patient are in one part of the data",
    ),
    ("ethics", "Ethical considerations", "sensitive data, risks and harms, and what was done about them"),
    ("caveats", "Caveats", "what else a user should know"),
    (
        "threshold_reason",
        "Reason of the decision threshold",
        "why this balance of missed cases and false alarms",
    ),
];

/// The entries that were given.
#[derive(Default)]
pub struct Given(BTreeMap<String, String>);

impl Given {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> anyhow::Result<Given> {
        let place = || path.display().to_string();
        let text = files::text(path, MAX_BYTES).with_context(place)?;
        let entries: BTreeMap<String, String> = toml::from_str(&text)
            .map_err(|error| anyhow::anyhow!("{}", error.message()))
            .context("give entries of text, as `microraptor card --template` prints them")
            .with_context(place)?;
        let known = FIELDS.map(|(name, ..)| name);
        if let Some(other) = entries.keys().find(|name| !known.contains(&name.as_str())) {
            bail!("{}: a card has no '{other}': its entries are {}", place(), known.join(", "));
        }
        Ok(Given(entries))
    }

    /// The entry `name`, if it says anything.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// The entry `name`, or that it is missing.
    pub fn block(&self, name: &str) -> Block {
        let (title, what) = field(name);
        match self.get(name) {
            Some(text) => Block::Facts(vec![(title.to_owned(), text.to_owned())]),
            None => Block::Missing(format!("{title}: to be filled in by the manufacturer ({name}: {what})")),
        }
    }
}

fn field(name: &str) -> (&'static str, &'static str) {
    let found = FIELDS.iter().find(|(known, ..)| *known == name);
    found.map_or(("", ""), |&(_, title, what)| (title, what))
}

/// An empty file, with what each entry is to say.
pub fn template() -> String {
    let entries = FIELDS.map(|(name, title, what)| format!("# {title}: {what}.\n{name} = \"\"\n"));
    format!(
        "# What a model card says and the head file does not know: microraptor card HEAD --text THIS.toml\n\n{}",
        entries.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_can_be_read_and_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card.toml");
        std::fs::write(&path, template()).unwrap();
        let given = Given::read(&path).unwrap();
        assert_eq!(given.0.len(), FIELDS.len());
        assert!(
            FIELDS
                .iter()
                .all(|(name, ..)| given.get(name).is_none() && given.block(name).missing().is_some())
        );
        for (text, expected) in [
            ("purpose = \"x\"", "no 'purpose'"),
            ("ethics = 3", "entries of text"),
            ("= =", "entries of text"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", Given::read(&path).map(|_| ()).unwrap_err());
            assert!(error.contains("card.toml") && error.contains(expected), "{error}");
        }
    }
}
