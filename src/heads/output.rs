//! An output of a graph as a head: the file of the backbone holds a classifier or a decoder of its own.

use std::path::Path;

use serde_json::Value;

use super::frame::{Frame, Said};
use super::scores::{Activation, said};
use super::targets::check_classes;
use super::{HeadError, HeadFormatError};
use crate::files;

/// Maximum size of a file of class names, in bytes.
const MAX_JSON: u64 = 16 << 20;

/// An output of a graph that is read as class scores, or as scores of each place of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputHead {
    /// The name of the output.
    pub output: String,
    /// Names of the classes; of a mask, the first is the background.
    pub classes: Vec<String>,
    /// Probability from which the second of two classes, or a label, is predicted.
    pub threshold: f64,
    /// How scores become probabilities.
    pub activation: Activation,
    /// Whether it is a map of scores.
    pub mask: bool,
}

impl OutputHead {
    /// The output `output`, whose scores are those of `classes`, for an image or (`mask`) for each place of a map.
    ///
    /// # Errors
    /// [`HeadError`] for too few classes, two of one name, or a threshold that is no probability.
    pub fn new(
        output: String,
        classes: Vec<String>,
        activation: Activation,
        mask: bool,
        threshold: f64,
    ) -> Result<OutputHead, HeadError> {
        check_classes(&classes, activation == Activation::Sigmoid && !mask)?;
        if !(0.0..=1.0).contains(&threshold) {
            return Err(HeadError::Threshold(threshold));
        }
        Ok(OutputHead { output, classes, threshold, activation, mask })
    }

    /// Whether an image may have several labels.
    pub fn multi_label(&self) -> bool {
        self.activation == Activation::Sigmoid && !self.mask
    }

    pub(super) fn frame(&self, frame: &Frame) -> Result<Said, HeadError> {
        let found = frame.outputs.iter().find(|output| output.name == self.output);
        let output = found.ok_or_else(|| HeadError::NoOutput {
            name: self.output.clone(),
            found: frame.outputs.iter().map(|output| output.name.clone()).collect(),
        })?;
        let how = (self.classes.len(), self.activation, self.threshold);
        said(&output.shape, &output.values, how, frame.seen)
    }
}

/// The class names in the JSON file at `path`: a list, `{"classes": [...]}`, or numbers with their names as in a Hugging
/// Face `config.json`, `{"id2label": {"0": ...}}` or `{"0": ...}`.
///
/// # Errors
/// [`HeadError::Format`] if the file cannot be read or holds something else.
pub fn class_names(path: &Path) -> Result<Vec<String>, HeadError> {
    let wrong = |problem: String| HeadError::Format {
        path: path.into(),
        reason: HeadFormatError::Description(problem),
    };
    let text = files::text(path, MAX_JSON).map_err(|error| wrong(error.to_string()))?;
    let json: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let expected = "expected a list of names, or an object with classes or id2label";
    let names = ["classes", "id2label"].into_iter().find_map(|key| json.get(key)).unwrap_or(&json);
    let name = |value: &Value| value.as_str().map(str::to_owned);
    let names: Option<Vec<String>> = match names {
        Value::Array(names) => names.iter().map(name).collect(),
        Value::Object(numbered) => {
            (0..numbered.len()).map(|number| name(numbered.get(&number.to_string())?)).collect()
        }
        _ => None,
    };
    names.ok_or_else(|| wrong(expected.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_are_read_in_the_forms_that_people_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.json");
        for text in [
            r#"["a", "b"]"#,
            r#"{"classes": ["a", "b"], "size": "224"}"#,
            r#"{"model_type": "vit", "id2label": {"1": "b", "0": "a"}}"#,
            r#"{"0": "a", "1": "b"}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(class_names(&path).unwrap(), ["a", "b"], "{text}");
        }
        for text in ["", "3", r#"{"id2label": {"1": "b", "2": "a"}}"#, r#"["a", 2]"#] {
            std::fs::write(&path, text).unwrap();
            let error = class_names(&path).unwrap_err().to_string();
            assert!(error.contains("names.json") && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn an_output_that_is_not_there_is_named_with_those_that_are() {
        let head =
            OutputHead::new("logits".into(), vec!["a".into(), "b".into()], Activation::Softmax, false, 0.5);
        let head = head.unwrap();
        let outputs = [crate::vit::Output { name: "scores".into(), shape: vec![1, 2], values: vec![0.0; 2] }];
        let frame = Frame { number: 0, row: &[], tokens: None, outputs: &outputs, seen: (4, 4) };
        let error = head.frame(&frame).err().expect("refused").to_string();
        assert!(error.contains("'logits'") && error.contains("scores"), "{error}");
    }
}
