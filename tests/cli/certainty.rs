//! Calibrated probabilities, sets of classes and thresholds by a rule, from `train` to every answer.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::common::*;

/// Pictures of which every fifth has the texture of another class, so that no head is right about all of them.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(classes: &[&str]) -> Bench {
        let folder = tempdir().unwrap();
        for (kind, class) in classes.iter().enumerate() {
            let of = folder.path().join("data").join(class);
            std::fs::create_dir_all(&of).unwrap();
            for i in 0..20 {
                let shown = if i % 5 == 4 { kind + 1 } else { kind };
                write_image(&of.join(format!("{i:02}.png")), shown % classes.len(), i + 40 * kind);
            }
        }
        Bench { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, head: &str, more: &[&str]) -> Value {
        json(&success(&self.arguments(head, more).iter().map(|a| a as _).collect::<Vec<_>>()))
    }

    fn arguments(&self, head: &str, more: &[&str]) -> Vec<std::ffi::OsString> {
        let mut all: Vec<std::ffi::OsString> = vec!["train".into(), tiny_model().into(), "--data".into()];
        all.extend([self.path("data").into(), "--size".into(), "32".into(), "-o".into()]);
        all.extend([self.path(head).into(), "--cache".into(), self.path("cache").into(), "--json".into()]);
        all.extend(more.iter().map(|&more| more.into()));
        all
    }

    fn refused(&self, more: &[&str]) -> String {
        let message = failure(&self.arguments("x", more).iter().map(|a| a as _).collect::<Vec<_>>());
        assert!(!self.path("x").exists());
        message
    }

    fn predict(&self, head: &str, more: &[&str]) -> Value {
        let (head, picture) = (self.path(head), self.path("data/rows/03.png"));
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"predict"];
        let model = tiny_model();
        all.extend([&model as _, &"--head" as _, &head as _, &picture as &dyn AsRef<std::ffi::OsStr>]);
        all.extend(more.iter().map(|more| more as &dyn AsRef<std::ffi::OsStr>));
        let line = json(&success(&all));
        let schema = json(
            &std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/output-schema.json"))
                .unwrap(),
        );
        check_members(&line, &schema, &schema, "line");
        line["heads"][0].clone()
    }
}

#[test]
fn a_calibrated_head_says_how_sure_it_is_and_decides_as_before() {
    let bench = Bench::new(&["columns", "rows", "slopes"]);
    let plain = bench.train("plain", &["--c", "100"]);
    assert!(plain.get("calibration").is_none() && plain.get("sets").is_none());
    let report = bench.train("warm", &["--c", "100", "--calibrate"]);
    let calibration = &report["calibration"];
    assert_eq!((&calibration["method"], &calibration["images"]), (&"temperature".into(), &48.into()));
    let loss = |part: &Value| part["log_loss"]["value"].as_f64().unwrap();
    assert!(loss(&calibration["after"]) < loss(&calibration["before"]), "{calibration}");
    assert_eq!(report["uncalibrated"]["log_loss"], plain["validation"]["log_loss"]);
    assert_eq!(report["validation"]["confusion"], plain["validation"]["confusion"]);
    assert!(report["validation"]["brier"]["value"].is_f64() && report["validation"]["ece"]["value"].is_f64());
    let (before, after) = (bench.predict("plain", &[]), bench.predict("warm", &[]));
    assert_eq!(before["class"], after["class"]);
    assert_ne!(before["probabilities"], after["probabilities"]);
    assert!(after.get("set").is_none());
    // Without the map, and but for the scores, it is the plain head.
    bench.train("off", &["--c", "100", "--coverage", "0.8", "--no-calibrate"]);
    assert_eq!(bench.predict("off", &["--coverage", "0.5"])["probabilities"], before["probabilities"]);
    let again = bench.train("again", &["--c", "100", "--calibrate"]);
    assert_eq!(again["validation"], report["validation"]);
    assert!(std::fs::read(bench.path("again")).unwrap() == std::fs::read(bench.path("warm")).unwrap());
}

#[test]
fn sets_grow_with_their_coverage_and_are_measured() {
    let bench = Bench::new(&["columns", "rows", "slopes"]);
    let report = bench.train("head", &["--coverage", "0.8"]);
    let sets = &report["sets"];
    assert_eq!((&sets["coverage"], &sets["images"]), (&0.8.into(), &12.into()));
    assert_eq!(sets["sizes"].as_array().unwrap().len(), 4);
    assert!(sets["interval"]["low"].as_f64() <= sets["measured"].as_f64());
    let size = |said: &Value| said["set"].as_array().unwrap().len();
    let (own, most) = (bench.predict("head", &[]), bench.predict("head", &["--coverage", "0.97"]));
    assert_eq!((&own["coverage"], &most["coverage"]), (&0.8.into(), &0.97.into()));
    assert!(size(&own) <= size(&most));
    // Just the classes that the printed probabilities and the stored scores give.
    let bytes = std::fs::read(bench.path("head")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let scores = tensors.tensor("conformal.scores").unwrap();
    let scores: Vec<f64> = scores.data().as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect();
    // ceil(49 * 0.8) = 40.
    let probabilities = own["probabilities"].as_object().unwrap();
    let expected = probabilities.iter().filter(|(_, p)| 1.0 - p.as_f64().unwrap() <= scores[39]);
    let expected: Vec<&String> = expected.map(|(name, _)| name).collect();
    assert_eq!((scores.len(), own["set"].clone()), (48, serde_json::json!(expected)));
    // A picture unlike all others: the set is no answer.
    image::save_buffer(bench.path("data/rows/03.png"), &[255; 64 * 64], 64, 64, image::ColorType::L8)
        .unwrap();
    let odd = bench.predict("head", &[]);
    assert_eq!((&odd["ood"]["outside"], &odd["abstain"]), (&true.into(), &"out of distribution".into()));
}

/// A stream of one picture says of it what `predict` says, to the last digit.
#[cfg(target_os = "linux")]
#[test]
fn live_frames_are_calibrated_and_have_sets_too() {
    let bench = Bench::new(&["columns", "rows"]);
    bench.train("head", &["--c", "100", "--coverage", "0.8"]);
    for more in [&[][..], &["--coverage", "0.9"]] {
        let picture = std::fs::File::open(bench.path("data/rows/03.png")).unwrap();
        let mut stream = program();
        stream.arg("stream").arg(tiny_model()).arg("--head").arg(bench.path("head"));
        let output = stream.args(["-", "--stdin", "png"]).args(more).stdin(picture).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let frame = lines.lines().map(json).find(|line| line["event"] == "frame").expect("an answer");
        let alone = bench.predict("head", more);
        assert_eq!(frame["heads"][0], alone);
        assert!(alone["set"].is_array());
    }
}

#[test]
fn a_threshold_is_chosen_by_its_rule() {
    let bench = Bench::new(&["columns", "rows"]);
    let sensitive = bench.train("sensitive", &["--operate", "sensitivity=0.95"]);
    let dear = bench.train("dear", &["--operate", "cost=1:20"]);
    for (report, rule) in [(&sensitive, "sensitivity=0.95"), (&dear, "cost=1:20")] {
        let point = &report["operating"];
        assert_eq!((&point["rule"], &point["images"]), (&rule.into(), &32.into()));
        assert_eq!(report["validation"]["threshold"], point["threshold"]["value"]);
        assert!(point["threshold"]["interval"]["low"].is_f64(), "{point}");
    }
    assert!(sensitive["operating"]["sensitivity"]["value"].as_f64().unwrap() >= 0.95);
    let threshold = |report: &Value| report["operating"]["threshold"]["value"].as_f64().unwrap();
    assert!(threshold(&sensitive) < threshold(&dear));
    assert!(bench.refused(&["--operate", "best"]).contains("none of sensitivity=0.95"));
}

#[test]
fn held_out_predictions_and_the_diagram_are_written() {
    let bench = Bench::new(&["columns", "rows"]);
    let csv = bench.path("held_out.csv");
    bench.train("head", &["--c", "100", "--held-out", csv.to_str().unwrap()]);
    let text = std::fs::read_to_string(&csv).unwrap();
    assert_eq!((text.lines().next().unwrap(), text.lines().count()), ("image,part,label,columns,rows", 33));
    let (head, data, svg) = (bench.path("head"), bench.path("data"), bench.path("plot.svg"));
    let cache = bench.path("cache");
    let evaluate = |more: &[&dyn AsRef<std::ffi::OsStr>]| {
        let model = tiny_model();
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"evaluate", &model, &"--head", &head, &"--data", &data];
        all.extend([&"--cache" as _, &cache as &dyn AsRef<std::ffi::OsStr>]);
        all.extend(more);
        success(&all)
    };
    let report = json(&evaluate(&[&"--coverage", &"0.8", &"--reliability", &svg, &"--json"]));
    assert_eq!(report["sets"]["images"], 8);
    assert!(report["uncalibrated"]["ece"]["value"].is_f64(), "{report}");
    let drawn = std::fs::read_to_string(&svg).unwrap();
    assert!(drawn.contains("without calibration") && drawn.contains("probability of rows"));
    let text = evaluate(&[&"--coverage", &"0.8"]);
    assert!(text.contains("sets of classes at coverage 0.8") && text.contains("Brier score"), "{text}");
}

#[test]
fn images_set_aside_give_a_guarantee() {
    let bench = Bench::new(&["columns", "rows", "slopes"]);
    let report = bench.train("head", &["--coverage", "0.8", "--set-aside", "0.25"]);
    let sets = &report["sets"];
    // 15 of 60 set aside, then a fifth of 15 of each class to choose on (about: the draw is not by class).
    assert_eq!((&sets["scores"], &sets["guarantee"]), (&15.into(), &"finite-sample".into()));
    let (train, val) = (report["train_images"].as_u64().unwrap(), sets["images"].as_u64().unwrap());
    assert_eq!(train + val, 45);
    let header = String::from_utf8_lossy(&std::fs::read(bench.path("head")).unwrap()).into_owned();
    assert!(header.contains(r#"\"set_aside\":{\"images\":15,\"share\":0.25,\"seed\":1}"#), "{header:.2000}");
    // `evaluate` draws the same images again, and says the same of the others.
    let (head, data, cache) = (bench.path("head"), bench.path("data"), bench.path("cache"));
    let model = tiny_model();
    let evaluate = |more: &[&dyn AsRef<std::ffi::OsStr>]| {
        let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"evaluate", &model, &"--head", &head, &"--data", &data, &"--cache", &cache];
        all.extend(more);
        success(&all)
    };
    assert_eq!(json(&evaluate(&[&"--json"]))["sets"], *sets);
    let text = evaluate(&[]);
    assert!(
        text.contains("guaranteed         0.800 to 0.863 on average") && text.contains("the 15 that"),
        "{text}"
    );
    let approximate = bench.train("folds", &["--coverage", "0.8"]);
    assert_eq!(approximate["sets"]["guarantee"], "approximate");
    assert!(bench.refused(&["--coverage", "0.95", "--set-aside", "0.25"]).contains("needs 19 images"));
    assert!(bench.refused(&["--set-aside", "1.5"]).contains("not between 0 and 1"));
}

#[test]
fn what_cannot_be_promised_is_refused() {
    let bench = Bench::new(&["columns", "rows", "slopes"]);
    for (more, says) in [
        (&["--coverage", "0.99"][..], "needs 99 images"),
        (&["--coverage", "1.5"], "between 0 and 1"),
        (&["--operate", "youden"], "three or more classes"),
        (&["--calibrate", "--head", "knn"], "kind knn"),
        (&["--calibrate", "--no-calibrate"], "cannot be used with"),
    ] {
        let message = bench.refused(more);
        assert!(message.contains(says), "{more:?}: {message}");
    }
    bench.train("plain", &[]);
    bench.train("head", &["--coverage", "0.8", "--head", "knn"]);
    let (head, picture) = (bench.path("plain"), bench.path("data/rows/03.png"));
    let predict = |head: &PathBuf, coverage: &str| {
        failure(&[&"predict", &tiny_model(), &"--head", head, &picture, &"--coverage", &coverage])
    };
    assert!(predict(&head, "0.8").contains("train it again with --calibrate or --coverage"));
    assert!(predict(&bench.path("head"), "0.99").contains("needs 99 images"));
}
