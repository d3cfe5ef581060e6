//! `card`: what a head's file, an evaluation and a manufacturer say, and nothing else.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::common::*;

/// A head of two kinds of texture, one of which has a name that Markdown and HTML would act on.
fn bench(more: &[Arg]) -> (TempDir, PathBuf, PathBuf) {
    let folder = tempdir().unwrap();
    let (data, head) = (folder.path().join("Quetzal Ann"), folder.path().join("head.safetensors"));
    write_dataset(&data, &["columns", "<b>rows*"], 12);
    let train: [Arg; 8] = [&"train", &tiny_model(), &"--data", &data, &"--size", &"32", &"-o", &head];
    success(&[&train, more].concat());
    (folder, data, head)
}

fn evaluation(head: &Path, data: &Path, to: &Path) -> Value {
    let args: [Arg; 9] =
        [&"evaluate", &tiny_model(), &"--head", &head, &"--data", &data, &"--split", &"val", &"--json"];
    let text = success(&args);
    std::fs::write(to, &text).unwrap();
    json(&text)
}

/// An estimate of `evaluate --json` as a card shows it.
fn shown(estimate: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap();
    match &estimate["interval"] {
        Value::Null => format!("{:.3}", number(&estimate["value"])),
        interval => format!(
            "{:.3} [{:.3}, {:.3}]",
            number(&estimate["value"]),
            number(&interval["low"]),
            number(&interval["high"])
        ),
    }
}

#[test]
fn a_card_has_the_numbers_of_training_and_of_evaluation() {
    let (folder, data, head) = bench(&[&"--calibrate", &"--coverage", &"0.8", &"--folds", &"3"]);
    let report = folder.path().join("val.json");
    let found = evaluation(&head, &data, &report);
    let card = success(&[&"card", &head, &"--evaluation", &report]);
    for section in [
        "Model details",
        "Intended use",
        "Factors",
        "Metrics",
        "Evaluation data",
        "Training data",
        "Quantitative analyses",
        "Ethical considerations",
        "Caveats and recommendations",
    ] {
        assert_eq!(card.matches(&format!("\n## {section}\n")).count(), 1, "{section}: {card}");
    }
    // The validation images of training are those that `evaluate` finds again.
    for (name, key) in [("AUC", "auc"), ("Balanced accuracy", "balanced_accuracy"), ("Brier score", "brier")]
    {
        let line = format!("- **{name}:** {}\n", shown(&found["metrics"][key]));
        assert!(card.matches(&line).count() >= 2, "{line}: {card}");
    }
    for class in found["metrics"]["classes"].as_array().unwrap() {
        let name =
            class["class"].as_str().unwrap().replace('<', "&lt;").replace('>', "&gt;").replace('*', r"\*");
        let numbers = ["auc", "sensitivity", "specificity"].map(|key| shown(&class[key]));
        let row = format!("| {name} | {} | {} |\n", class["images"], numbers.join(" | "));
        assert_eq!(card.matches(&row).count(), 2, "{row}: {card}");
    }
    let sha256 = found["head_sha256"].as_str().unwrap();
    assert!(card.contains(sha256) && card.contains(found["backbone"]["sha256"].as_str().unwrap()));
    assert!(
        card.contains("Cross-validation in 3 parts") && card.contains("Sets of classes at coverage:** 0.8"),
        "{card}"
    );
    assert!(card.contains("Number format:** f32") && card.contains("drawn image by image"), "{card}");
    assert!(
        card.contains("Intended") && card.contains("to be filled in by the manufacturer (primary\\_uses:")
    );
    assert!(!card.contains("<b>") && !card.contains("Quetzal"), "{card}");

    let all = json(&success(&[&"card", &head, &"--evaluation", &report, &"--json"]));
    assert_eq!(all["validation"], found["metrics"]);
    assert_eq!(all["evaluations"][0]["metrics"], found["metrics"]);
    assert_eq!(all["evaluations"][0]["sets"]["covered"], found["sets"]["covered"]);
    assert!(all["missing"].as_array().unwrap().len() > 10);
}

#[test]
fn the_manufacturer_fills_in_what_the_file_does_not_know() {
    let (folder, data, head) = bench(&[]);
    let template = success(&[&"card", &"--template"]);
    let filled = template.replace(" = \"\"", " = \"as <agreed>\"");
    let text = folder.path().join("card.toml");
    std::fs::write(&text, filled).unwrap();
    let page = folder.path().join("card.html");
    success(&[&"card", &head, &"--text", &text, &"-o", &page]);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<title>Model card: as &lt;agreed&gt;</title>"), "{html}");
    assert!(!html.contains("to be filled in") && !html.contains("<b>rows"), "{html}");
    // No test images: that stays open.
    assert_eq!(html.matches("class=\"missing\"").count(), 1, "{html}");

    std::fs::write(&text, "purpose = \"x\"").unwrap();
    assert!(failure(&[&"card", &head, &"--text", &text]).contains("card.toml: a card has no 'purpose'"));
    let report = folder.path().join("val.json");
    evaluation(&head, &data, &report);
    let other = folder.path().join("other.safetensors");
    success(&[&"train", &tiny_model(), &"--data", &data, &"--size", &"48", &"-o", &other]);
    let refused = failure(&[&"card", &other, &"--evaluation", &report]);
    assert!(refused.contains("val.json: evaluates another head"), "{refused}");
    let refused = failure(&[&"card", &head, &"--evaluation", &text]);
    assert!(refused.contains("card.toml: give what `microraptor evaluate --json` prints"), "{refused}");
    // Outputs are not written over inputs, nor with an ending of another format.
    let before = std::fs::read(&head).unwrap();
    assert!(failure(&[&"card", &head, &"-o", &head]).contains("end its name in .md or .html"));
    let hidden = folder.path().join("head.md");
    std::fs::hard_link(&head, &hidden).unwrap();
    failure(&[&"card", &head, &"-o", &hidden]);
    assert_eq!(std::fs::read(&head).unwrap(), before);
}
