//! The entries of `__metadata__`.

use std::path::Path;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{ConvertedModel, GRAPH_VERSION, VERSION};
use crate::quant::QuantError;

/// Key of the format version. It comes first in the header, where [`super::is_ours`] looks for it.
pub(super) const MARK: &str = "microraptor.model";

/// Number of hex digits of the digest.
pub(super) const DIGITS: usize = 64;

/// The metadata entries, in file order.
#[derive(Serialize)]
pub(super) struct Metadata {
    #[serde(rename = "microraptor.model")]
    version: &'static str,
    digest: String,
    name: String,
    precision: String,
    architecture: String,
    plan: String,
    preprocess: String,
    source: String,
    licence: String,
    report: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    graph: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation: Option<String>,
    tool: String,
}

/// The same entries, as read from a file.
#[derive(Deserialize, Default)]
pub(super) struct Found {
    #[serde(rename = "microraptor.model")]
    pub version: Option<String>,
    pub digest: Option<String>,
    pub name: Option<String>,
    pub precision: Option<String>,
    pub architecture: Option<String>,
    pub plan: Option<String>,
    pub preprocess: Option<String>,
    pub source: Option<String>,
    pub licence: Option<String>,
    pub report: Option<String>,
    pub graph: Option<String>,
    pub attestation: Option<String>,
    pub tool: Option<String>,
}

/// A safetensors header, of which only the metadata are parsed.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: Option<Found>,
    #[serde(flatten)]
    _tensors: std::collections::BTreeMap<String, IgnoredAny>,
}

impl Metadata {
    /// The entries of `model`, with a digest of all zeros.
    pub fn of(model: &ConvertedModel) -> Metadata {
        Metadata {
            version: if model.graph.is_some() { GRAPH_VERSION } else { VERSION },
            digest: "0".repeat(DIGITS),
            name: model.name.clone(),
            precision: json(&model.precision),
            architecture: json(&model.network.config),
            plan: json(&model.plan),
            preprocess: json(&model.preprocess),
            source: json(&model.source),
            licence: json(&model.licence),
            report: json(&model.report),
            graph: model.graph.as_ref().map(|graph| graph.about.clone()),
            attestation: model.attestation.as_ref().map(json),
            tool: model.tool.clone(),
        }
    }
}

impl Found {
    /// The metadata of the header `bytes`, if it has any.
    pub fn parse(bytes: &[u8]) -> Option<Found> {
        serde_json::from_slice::<Header>(bytes).ok()?.metadata
    }
}

fn json(value: &impl Serialize) -> String {
    // Only a map with keys that are not strings, or a failing writer, could make this an error.
    serde_json::to_string(value).expect("plain data")
}

/// The entry `key`, or an error if it is missing.
pub(super) fn text(path: &Path, key: &'static str, entry: Option<String>) -> Result<String, QuantError> {
    entry.ok_or_else(|| QuantError::Metadata { path: path.to_owned(), key, problem: "is missing".into() })
}

/// The entry `key`, parsed from JSON.
pub(super) fn parsed<T: DeserializeOwned>(
    path: &Path,
    key: &'static str,
    entry: Option<String>,
) -> Result<T, QuantError> {
    let entry = text(path, key, entry)?;
    serde_json::from_str(&entry).map_err(|e| QuantError::Metadata {
        path: path.to_owned(),
        key,
        problem: format!("cannot be read ({e})"),
    })
}
