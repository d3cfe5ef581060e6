//! What the page is told of an event: nothing that could name a patient, so no path, no file and no message.

use std::path::Path;

use microraptor::names::shown;
use serde_json::{Map, Value, json};

use crate::cli::stream::line::Event;

/// Of a frame's line, what is shown.
const OF_FRAME: [&str; 7] = ["frame", "exposed", "picture", "late", "withheld", "dropped", "ms"];

/// Of a head's answer, what is shown, beside the name of its file without folders.
const OF_HEAD: [&str; 6] = ["kind", "class", "probabilities", "areas", "ood", "withheld"];

/// A frame's line, `json` on standard output.
pub fn frame(json: &str) -> serde_json::Result<Value> {
    let value: Value = serde_json::from_str(json)?;
    let mut said = picked(&value, &OF_FRAME);
    let heads = value["heads"].as_array().map_or(&[][..], Vec::as_slice).iter().map(|head| {
        let mut said = picked(head, &OF_HEAD);
        said.insert("head".into(), stem(Path::new(head["head"].as_str().unwrap_or_default())).into());
        Value::Object(said)
    });
    said.insert("heads".into(), heads.collect());
    Ok(Value::Object(said))
}

/// What runs: said at the start, and again when it is replaced.
pub fn facts(event: &Event, facts: &mut Value) {
    match event {
        Event::Started {
            model, policy, deadline_ms, smoothing_delay_frames, window_delay_frames, ..
        } => {
            *facts = json!({
                "model": model["name"],
                "runs_on": model["runs_on"],
                "policy": policy,
                "deadline_ms": deadline_ms,
                "delay_frames": smoothing_delay_frames + window_delay_frames.unwrap_or(0.0),
                "version": env!("CARGO_PKG_VERSION"),
            });
        }
        Event::Reloaded { model, .. } => {
            facts["model"] = model["name"].clone();
            facts["runs_on"] = model["runs_on"].clone();
        }
        _ => {}
    }
}

/// A head's file without folders and ending.
fn stem(path: &Path) -> String {
    shown(path.file_stem().unwrap_or(path.as_os_str()))
}

fn picked(value: &Value, names: &[&str]) -> Map<String, Value> {
    let pick = |name: &&str| Some(((*name).to_owned(), value.get(name)?.clone()));
    names.iter().filter_map(pick).collect()
}
