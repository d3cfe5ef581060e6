//! What a card consists of, whatever its format.

use serde::Serialize;

/// A section.
#[derive(Serialize)]
pub struct Section {
    pub title: &'static str,
    pub blocks: Vec<Block>,
}

/// A part of a section. Its text is plain: a format escapes it.
#[derive(Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Block {
    /// A heading within the section.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// Sentences that stand alone.
    List(Vec<String>),
    /// Names and values.
    Facts(Vec<(String, String)>),
    /// A header and rows.
    Table(Vec<Vec<String>>),
    /// What nobody said, and how to say it.
    Missing(String),
}

impl Block {
    /// What is missing, if this says so.
    pub fn missing(&self) -> Option<&str> {
        match self {
            Block::Missing(what) => Some(what),
            _ => None,
        }
    }
}

/// A fact.
pub fn fact(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

/// The smallest and the largest of something: `224 to 512`, or `224` if they are the same.
pub fn span([low, high]: [usize; 2]) -> String {
    if low == high { low.to_string() } else { format!("{low} to {high}") }
}
