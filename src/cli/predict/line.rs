//! The JSON line printed for one image. Its schema is docs/output-schema.json.

use std::path::Path;

use microraptor::engine::About;
use microraptor::input::{Identifiers, ScanInfo, SourceFrame};
use microraptor::names::shown;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::head_line::HeadLine;

/// Version of the schema.
const SCHEMA: u32 = 1;

/// One line.
#[derive(Serialize)]
pub struct Line {
    schema: u32,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sop_instance_uid: Option<Value>,
    pub frames: usize,
    /// For a scan with several frames: the source of the frame of each list entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_frames: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caution: Option<String>,
    model: Value,
    pub heads: Vec<HeadLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identifiers: Option<Value>,
    pub ms: Milliseconds,
}

impl Line {
    pub fn new(path: &Path, info: &ScanInfo, about: &About, with_identifiers: bool) -> Line {
        // UIDs contain dates and device numbers, and identify the patient in any archive.
        let uids = info.dicom.as_ref().filter(|_| with_identifiers);
        let uids = uids.map(|dicom| match dicom.sop_instance_uids.as_slice() {
            [uid] => json!(uid),
            uids => json!(uids),
        });
        Line {
            schema: SCHEMA,
            file: shown(path),
            sop_instance_uid: uids,
            frames: 0,
            source_frames: source_frames(info),
            caution: info.caution.clone(),
            model: json!({"name": about.name, "sha256": about.sha256}),
            heads: Vec::new(),
            identifiers: info.identifiers.as_ref().filter(|_| with_identifiers).map(identified),
            ms: Milliseconds::default(),
        }
    }
}

/// Source of each frame, in the order of [`ScanInfo::source_order`]; `None` for a single frame or a stream.
fn source_frames(info: &ScanInfo) -> Option<Vec<Value>> {
    let count = Some(info.source_frames.len()).filter(|&count| count > 1)?;
    let place = |n: usize| {
        let SourceFrame { file, frame } = info.source_frame(n);
        match info.files.as_slice() {
            [] | [_] => json!({"frame": frame}),
            files => json!({"file": shown(files[file].file_name().unwrap_or_default()), "frame": frame}),
        }
    };
    Some(info.source_order(count).into_iter().map(place).collect())
}

/// The patient's identifiers that the file contains.
fn identified(of: &Identifiers) -> Value {
    let known = [
        ("patient_name", &of.patient_name),
        ("patient_id", &of.patient_id),
        ("birth_date", &of.birth_date),
        ("study_date", &of.study_date),
        ("accession_number", &of.accession_number),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))));
    Value::Object(known.collect())
}

/// Time of each stage.
#[derive(Default, Serialize)]
pub struct Milliseconds {
    pub decode: f64,
    pub resize: f64,
    pub backbone: f64,
    pub head: f64,
    pub total: f64,
}
