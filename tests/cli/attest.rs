//! `attest`: whether this machine computes what was validated, and what `stream` does if not.

use std::path::{Path, PathBuf};

use microraptor::quant::{Matrix, file};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::{TempDir, tempdir};

use super::common::*;

/// A converted model, and a head on it.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { folder: tempdir().unwrap() };
        let (model, data) = (bench.path("model.safetensors"), bench.path("data"));
        success(&[&"convert", &tiny_model(), &"-o", &model, &"--size", &"32"]);
        write_dataset(&data, &["columns", "rows"], 6);
        let head = bench.path("head.safetensors");
        success(&[&"train", &model, &"--data", &data, &"--size", &"48", &"-o", &head, &"--no-cache"]);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The model with another weight, in a file whose own digest is right.
    fn other_model(&self) -> PathBuf {
        let mut model = file::read(&self.path("model.safetensors")).unwrap().model;
        let layer = model.network.blocks[0].mlp.first_mut().next().unwrap();
        match &mut layer.weight {
            Matrix::Int8 { values, .. } => values[77] += if values[77] > 0 { -20 } else { 20 },
            Matrix::F16(values) => values[77] = half::f16::from_f32(values[77].to_f32() + 0.5),
            Matrix::F32(values) => values[77] += 0.5,
        }
        let path = self.path("other.safetensors");
        file::write(&path, &model).unwrap();
        path
    }

    /// The head with one bit of a weight changed, in a file whose own digest is right.
    fn other_head(&self) -> PathBuf {
        let mut bytes = std::fs::read(self.path("head.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let weights = tensors.tensor("weight").unwrap().data().as_ptr_range().start;
        let place = weights.addr() - bytes.as_ptr().addr();
        bytes[place + 6] ^= 1;
        let key = br#"\"digest\":\""#;
        let at = bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len();
        bytes[at..at + 64].fill(b'0');
        let digest: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        bytes[at..at + 64].copy_from_slice(digest.as_bytes());
        let path = self.path("other-head.safetensors");
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// The record on standard output, and the exit code.
fn record(args: &[Arg]) -> (Value, i32) {
    let output = microraptor(&[&[&"attest" as Arg], args, &[&"--json"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let code = output.status.code().unwrap();
    assert!(code < 2, "{}", String::from_utf8_lossy(&output.stderr));
    let found = json(&text);
    check_schema(&found);
    (found, code)
}

fn check_schema(record: &Value) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/attest-schema.json");
    let schema = json(&std::fs::read_to_string(path).unwrap());
    check_members(record, &schema, &schema, "record");
}

/// The parts of a record that differ.
fn differing(record: &Value) -> Vec<&str> {
    let checks = record["runs"][0]["checks"].as_array().unwrap();
    checks
        .iter()
        .filter(|check| check["equal"] == false)
        .map(|check| {
            assert_ne!(check["expected"], check["found"]);
            check["part"].as_str().unwrap()
        })
        .collect()
}

#[test]
fn what_is_computed_as_validated_is_equal_and_one_changed_value_is_found() {
    let bench = Bench::new();
    let (model, head) = (bench.path("model.safetensors"), bench.path("head.safetensors"));
    let kept = bench.path("record.json");
    let (found, code) = record(&[&model, &"--head", &head, &"--all-isas", &"--record", &kept]);
    assert_eq!((code, &found["equal"]), (0, &true.into()));
    let written = json(&std::fs::read_to_string(&kept).unwrap());
    assert_eq!(written, found);
    for run in found["runs"].as_array().unwrap() {
        assert_eq!(run["checks"].as_array().unwrap().len(), 2 * 3 + 2, "{run}");
        assert_eq!((&run["equal"], run["left_out"].as_array().unwrap().len()), (&true.into(), 0));
    }
    assert_eq!(found["model"]["sha256"], file::read(&model).unwrap().sha256);
    let said = success(&[&"attest", &model, &"--head", &head, &"--threads", &"2", &"--require"]);
    assert!(said.contains("2 threads") && said.lines().last().unwrap().starts_with("equal: "), "{said}");

    let (found, code) = record(&[&bench.other_model()]);
    assert_eq!((code, differing(&found)), (1, vec!["features"; 2]));
    let (found, code) = record(&[&model, &"--head", &bench.other_head()]);
    assert_eq!((code, differing(&found)), (1, vec!["values", "answers"]));
    let said = microraptor(&[&"attest", &bench.other_model()]);
    let lines = String::from_utf8(said.stdout).unwrap();
    assert_eq!((said.status.code(), lines.matches("DIFFERS").count()), (Some(1), 2), "{lines}");

    let message = failure(&[&"attest", &model, &"--record", &model]);
    assert!(message.contains("model.safetensors"), "{message}");
    // The same bytes on every run, and on every instruction set: nothing of this machine is in the file.
    let again = bench.path("again.safetensors");
    success(&[&"convert", &tiny_model(), &"-o", &again, &"--size", &"32", &"--isa", &"scalar"]);
    assert!(std::fs::read(&again).unwrap() == std::fs::read(&model).unwrap());
}

#[test]
fn what_stores_nothing_is_said() {
    let message = failure(&[&"attest", &tiny_model()]);
    assert!(message.contains("stores no attestation") && message.contains("convert"), "{message}");
    let bench = Bench::new();
    let mut head = microraptor::Head::load(bench.path("head.safetensors")).unwrap();
    head.attestation = None;
    let (model, older) = (bench.path("model.safetensors"), bench.path("older.safetensors"));
    head.save(&older).unwrap();
    let (found, code) = record(&[&model, &"--head", &older]);
    assert_eq!((code, &found["runs"][0]["left_out"][0]["reason"]), (0, &"absent".into()));
    let message = failure(&[&"attest", &model, &"--head", &older, &"--require"]);
    assert!(message.contains("older.safetensors") && message.contains("train"), "{message}");
}

#[cfg(feature = "demo")]
#[test]
fn the_built_in_model_is_attested() {
    let (found, code) = record(&[&"demo", &"--all-isas"]);
    assert_eq!((code, &found["equal"]), (0, &true.into()));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/demo.safetensors");
    assert_eq!(record(&[&file]).0["model"]["sha256"], found["model"]["sha256"]);
}

/// The first line of a stream, and its exit code once it has no frames.
#[cfg(target_os = "linux")]
fn stream(model: &Path, head: &Path, more: &[&str]) -> (String, String, i32) {
    let mut command = program();
    command.arg("stream").arg(model).arg("--head").arg(head).args(["-", "--stdin", "png"]).args(more);
    let output = command.stdin(std::process::Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let first = text(&output.stdout).lines().next().unwrap_or_default().to_owned();
    (first, text(&output.stderr), output.status.code().unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn a_stream_begins_only_if_all_is_equal() {
    let bench = Bench::new();
    let (model, head) = (bench.path("model.safetensors"), bench.path("head.safetensors"));
    let (first, errors, _) = stream(&model, &head, &[]);
    let started = json(&first);
    assert_eq!(started["event"], "started", "{errors}");
    assert_eq!(
        (&started["attest"]["ok"], &started["attest"]["left_out"]),
        (&true.into(), &Value::Array(vec![]))
    );
    assert!(started["attest"]["ms"].as_f64().unwrap() > 0.0);

    let (first, errors, code) = stream(&model, &bench.other_head(), &[]);
    assert_eq!((first.as_str(), code), ("", 2), "{errors}");
    let error = error_line(&errors);
    assert!(error.contains("other-head.safetensors: this machine computes other values"), "{error}");
    assert!(error.contains("expected SHA-256") && error.contains("microraptor attest"), "{error}");
    let (first, ..) = stream(&model, &bench.other_head(), &["--no-attest"]);
    assert_eq!(json(&first)["attest"]["ok"], Value::Null);
    let picture = bench.path("data/rows/00.png");
    let answer = success(&[&"predict", &model, &"--head", &head, &picture, &"--attest"]);
    assert_eq!(json(&answer)["heads"][0]["kind"], "linear");
    let message = failure(&[&"predict", &bench.other_model(), &"--head", &head, &picture, &"--attest"]);
    assert!(message.contains("other.safetensors: this machine computes other features at"), "{message}");
}

/// What SIGHUP reads anew is attested before it answers.
#[cfg(target_os = "linux")]
#[test]
fn a_reload_that_computes_something_else_is_refused() {
    use rustix::process::{Pid, Signal, kill_process};
    if emulated() {
        return; // The signal would reach the emulator.
    }
    let bench = super::stream::Bench::new();
    let head = bench.path("head.safetensors");
    let mut running = bench.start(&[]);
    let mut other = microraptor::Head::load(&head).unwrap();
    other.model.set_threshold(0.123).unwrap();
    other.save(&head).unwrap();
    kill_process(Pid::from_child(&running.child), Signal::HUP).unwrap();
    let line = running.next();
    assert_eq!(line["event"], "reload-failed");
    assert!(line["problem"].as_str().unwrap().contains("computes other values"), "{line}");
    // The old head goes on.
    running.send(&bench.picture(0));
    assert_eq!(running.next()["event"], "frame");
    assert_eq!(running.finish().1, 0);
}
