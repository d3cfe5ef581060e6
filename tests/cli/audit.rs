//! `--audit` and `audit verify`: what a log holds, what it must not hold, and what is found when it was changed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::tempdir;

use super::common::*;
use super::stream::Bench;

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The lines of a log, which are as the schema says.
fn lines(log: &Path) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit-schema.json");
    let schema = json(&std::fs::read_to_string(path).unwrap());
    let read = |line: &str| {
        let line = json(line);
        let event = line["event"].as_str().unwrap();
        check_members(&line, &schema["$defs"][event], &schema, event);
        line
    };
    std::fs::read_to_string(log).unwrap().lines().map(read).collect()
}

fn of<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

/// Exit code and JSON of `audit verify`.
fn verify(arguments: &[&dyn AsRef<OsStr>]) -> (i32, Value) {
    let output = microraptor(&[&[&"audit" as &dyn AsRef<OsStr>, &"verify", &"--json"], arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), json(&text))
}

fn whole(log: &Path) -> Value {
    let (code, report) = verify(&[&log]);
    assert_eq!((code, &report["whole"]), (0, &true.into()), "{report}");
    report
}

impl Bench {
    /// Runs `predict` on pictures, with the log `log`.
    fn predict(&self, log: &Path, more: &[&dyn AsRef<OsStr>]) -> std::process::Output {
        let (model, head) = (tiny_model(), self.path("head.safetensors"));
        let first: [Arg; 6] = [&"predict", &model, &"--head", &head, &"--audit", &log];
        microraptor(&[&first, more].concat())
    }
}

#[test]
fn each_answer_is_in_the_log_by_the_digest_of_its_line() {
    let bench = Bench::new();
    let log = bench.path("audit.jsonl");
    let output = bench.predict(&log, &[&bench.file(0), &bench.file(1), &"--threads", &"1"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let found = lines(&log);
    let events: Vec<&str> = found.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["begin", "start", "loaded", "answer", "answer", "stop"]);
    assert_eq!((&found[1]["command"], &found[1]["settings"]["threads"]), (&"predict".into(), &"1".into()));
    let version = &found[1]["program"]["version"];
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let head = std::fs::read(bench.path("head.safetensors")).unwrap();
    let digest: String = Sha256::digest(&head).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found[2]["heads"], serde_json::json!([{"name": "head.safetensors", "sha256": digest}]));
    let answer = json(printed.lines().next().unwrap());
    assert_eq!(found[2]["model"]["sha256"], answer["model"]["sha256"]);
    assert_eq!(found[2]["threads"], 1);
    for (number, line) in printed.lines().enumerate() {
        let logged = &found[3 + number];
        assert_eq!((&logged["input"], &logged["line_sha256"]), (&(number + 1).into(), &sha256(line).into()));
    }
    assert_eq!(found[5]["counts"]["answered"], 2);
    let report = whole(&log);
    let expected = format!("audit log: line 5, SHA-256 {}", report["head"]["sha256"].as_str().unwrap());
    assert!(said.lines().any(|line| line == expected), "{said}");

    // A stream goes on in the same file, and says what it reloads.
    let mut running =
        bench.start(&["--policy", "every", "--deadline", "60000", "--audit", log.to_str().unwrap()]);
    let mut printed = Vec::new();
    for number in 0..3 {
        running.send(&bench.picture(number));
        printed.push(running.next_text());
    }
    assert!(Command::new("kill").args(["-HUP", &running.id().to_string()]).status().unwrap().success());
    assert_eq!(running.next()["event"], "reloaded");
    let (ended, code, errors) = running.finish();
    assert_eq!(code, 0, "{errors}");
    let found = lines(&log);
    let answers = of(&found, "answer");
    assert_eq!(answers.len(), 5);
    for (number, line) in printed.iter().enumerate() {
        let logged = answers[2 + number];
        assert_eq!((&logged["input"], &logged["line_sha256"]), (&(number + 1).into(), &sha256(line).into()));
        assert_eq!(logged["late"], false);
    }
    assert_eq!(of(&found, "reloaded")[0]["heads"], found[2]["heads"]);
    let settings = &of(&found, "start")[1]["settings"];
    assert_eq!((&settings["policy"], &settings["deadline"]), (&"every".into(), &"60000".into()));
    assert_eq!((&settings["audit"], &settings["heads"]), (&Value::Null, &Value::Null));
    let stop = of(&found, "stop")[1];
    assert_eq!(stop["counts"]["answered"], ended[ended.len() - 1]["answered"]);
    let report = whole(&log);
    assert_eq!((&report["runs"], &report["unfinished"]), (&2.into(), &0.into()));
}

#[test]
fn what_was_done_to_a_log_is_found_and_named() {
    let bench = Bench::new();
    let (log, other) = (bench.path("audit.jsonl"), bench.path("other.jsonl"));
    assert!(bench.predict(&log, &[&bench.file(0), &bench.file(1)]).status.success());
    let text = std::fs::read_to_string(&log).unwrap();
    let all: Vec<&str> = text.lines().collect();
    let head = whole(&log)["head"]["sha256"].as_str().unwrap().to_owned();
    let found = |lines: &[&str]| {
        std::fs::write(&other, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let (code, report) = verify(&[&other, &"--head", &head]);
        assert_eq!((code, &report["whole"]), (1, &false.into()), "{report}");
        (
            report["fault"]["line"].as_u64().unwrap() as usize,
            report["fault"]["kind"].as_str().unwrap().to_owned(),
        )
    };
    let without = |at: usize| [&all[..at], &all[at + 1..]].concat();
    let with = |at: usize, line: &'static str| [&all[..at], &[line], &all[at..]].concat();
    for at in 0..all.len() {
        let changed = all[at].replacen("\"time\":\"2", "\"time\":\"3", 1);
        assert_eq!(found(&[&all[..at], &[&changed], &all[at + 1..]].concat()), (at + 1, "changed".into()));
        assert_eq!(found(&without(at)), (at + 1, "removed".into()));
        assert_eq!(found(&with(at, "{}")), (at + 1, "no-line".into()));
        let twice = [&all[..=at], &all[at..]].concat();
        assert_eq!(found(&twice), (at + 2, "inserted".into()));
        if at > 0 && at + 1 < all.len() {
            let mut swapped = all.clone();
            swapped.swap(at, at + 1);
            assert_eq!(found(&swapped), (at + 1, "moved".into()));
        }
    }
    // Cut off at the end of a line, which only what was written down elsewhere tells; and within one.
    std::fs::write(&other, text.lines().take(4).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    assert_eq!(verify(&[&other]).0, 0);
    assert_eq!((verify(&[&other, &"--head", &head]).0, verify(&[&other, &"--lines", &"6"]).0), (1, 1));
    assert_eq!((verify(&[&log, &"--head", &head]).0, verify(&[&log, &"--lines", &"6"]).0), (0, 0));
    std::fs::write(&other, &text[..text.len() - 10]).unwrap();
    assert_eq!(verify(&[&other]).1["fault"]["kind"], "torn");
    let output = microraptor(&[&"audit", &"verify", &other]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.code() == Some(1) && said.contains("other.jsonl line 6: ends within a line"),
        "{said}"
    );
    // What cannot be read is an error, and no verdict.
    assert!(
        failure(&[&"audit", &"verify", &bench.path("absent")])
            .contains("absent: the audit log cannot be read")
    );
    assert!(failure(&[&"audit", &"verify", &bench.path("data")]).contains("folder"));
    assert!(failure(&[&"audit", &"verify", &log, &"--head", &"12"]).contains("no SHA-256"));
}

/// A name in a DICOM file, in the names of files and folders, and in what errors say.
#[cfg(feature = "dicom")]
#[test]
fn nothing_of_a_patient_is_in_the_log() {
    use dicom_core::{DataElement, PrimitiveValue, VR};
    use dicom_dictionary_std::tags;
    let bench = Bench::new();
    let folder = bench.path("Quxley_Zebulon_1931");
    std::fs::create_dir(&folder).unwrap();
    let scan = folder.join("Zebulon_knee.dcm");
    let mut object = dicom_object::open_file(golden("dicom/exact.dcm")).unwrap();
    for (tag, vr, value) in [
        (tags::PATIENT_NAME, VR::PN, "Quxley^Zebulon"),
        (tags::PATIENT_ID, VR::LO, "PID-7788991"),
        (tags::PATIENT_BIRTH_DATE, VR::DA, "19310214"),
        (tags::STUDY_INSTANCE_UID, VR::UI, "1.2.826.0.1.3680043.8.498.7788991.1"),
        (tags::SERIES_INSTANCE_UID, VR::UI, "1.2.826.0.1.3680043.8.498.7788991.2"),
    ] {
        object.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
    }
    object.write_to_file(&scan).unwrap();
    let uid = object.element(tags::SOP_INSTANCE_UID).unwrap().to_str().unwrap().into_owned();
    let damaged = folder.join("Quxley_damaged.dcm");
    let bytes = std::fs::read(&scan).unwrap();
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    let log = bench.path("audit.jsonl");
    let out = bench.path("Zebulon_out");
    let output = bench.predict(&log, &[&scan, &"--with-identifiers", &"--dicom", &out]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = folder.join("Quxley_text.png");
    std::fs::write(&text, "Quxley").unwrap();
    for wrong in [&damaged, &text] {
        assert_eq!(bench.predict(&log, &[&scan, wrong]).status.code(), Some(2));
    }
    let arguments = ["--audit", log.to_str().unwrap(), "--stall", "0.2", "--policy", "every"];
    let running = bench.start_on(&[&[scan.to_str().unwrap(), "--fps", "20"], &arguments[..]].concat(), &[]);
    assert_eq!(running.finish().1, 0);
    // This one ends before its first line.
    let mut command = program();
    command.arg("stream").arg(tiny_model()).arg("--head").arg(bench.path("head.safetensors"));
    let output = command.arg(&damaged).args(["--fps", "20"]).args(arguments).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let found = lines(&log);
    assert!(of(&found, "answer").len() >= 3, "{found:?}");
    let classes: Vec<&Value> = of(&found, "error").into_iter().map(|line| &line["class"]).collect();
    let of_input = classes.iter().all(|class| class.as_str().unwrap().starts_with("input: "));
    assert!(classes.len() == 3 && of_input, "{classes:?}");
    assert_eq!(of(&found, "start").len(), of(&found, "stop").len());
    let text = std::fs::read_to_string(&log).unwrap();
    for word in ["Quxley", "Zebulon", "7788991", "19310214", "_1931", "knee", &uid, "columns", "rows"] {
        assert!(!text.to_lowercase().contains(&word.to_lowercase()), "{word}: {text}");
    }
    whole(&log);
}

#[test]
fn a_stream_that_is_killed_again_and_again_leaves_a_log_that_goes_on() {
    if emulated() {
        return;
    }
    let bench = Bench::new();
    let log = bench.path("audit.jsonl");
    let mut printed = Vec::new();
    for kill in 0..12 {
        let mut running = bench.start(&["--policy", "every", "--audit", log.to_str().unwrap()]);
        for number in 0..kill {
            running.send(&bench.picture(number));
            printed.push(running.next_text());
        }
        // One more is under way.
        running.send(&bench.picture(kill));
        std::thread::sleep(Duration::from_micros(700 * kill as u64));
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        let report = whole(&log);
        assert_eq!((&report["runs"], &report["unfinished"]), (&(kill + 1).into(), &(kill + 1).into()));
    }
    // What a power cut may leave: a part of a line.
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() - 50]).unwrap();
    assert_eq!(verify(&[&log]).1["fault"]["kind"], "torn");
    assert!(bench.predict(&log, &[&bench.file(0)]).status.success());
    let report = whole(&log);
    assert_eq!(report["torn"].as_array().unwrap().len(), 1, "{report}");
    let text = std::fs::read_to_string(&log).unwrap();
    let logged: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // Every answer that was given is in it, but perhaps the one that was cut off.
    let known: Vec<&Value> = of(&logged, "answer").into_iter().map(|line| &line["line_sha256"]).collect();
    let missing = printed.iter().filter(|line| !known.contains(&&Value::from(sha256(line)))).count();
    assert!(missing <= 1 && printed.len() == 66, "{missing} of {}", printed.len());
}

/// A limit on the file size (EFBIG) has the same effect as a full disk (ENOSPC): a write fails half-way.
#[test]
fn on_a_full_disk_answers_stop_or_go_on_as_was_asked_for() {
    if emulated() {
        return;
    }
    let bench = Bench::new();
    let pictures: Vec<PathBuf> = (0..60).map(|number| bench.file(number % 12)).collect();
    let run = |log: &Path, policy: &str| {
        let mut shell = Command::new("sh");
        // 8 KiB or 16 KiB, depending on the shell's block size: fewer lines than there are pictures.
        let script = "trap '' XFSZ; ulimit -f 16; exec \"$@\"";
        shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_microraptor"), "predict"]).arg(tiny_model());
        shell.arg("--head").arg(bench.path("head.safetensors")).arg("--audit").arg(log);
        shell.args(["--audit-full", policy]).args(&pictures);
        let output = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for (policy, code) in [("stop", Some(2)), ("go-on", Some(0))] {
        let log = bench.path(policy);
        let (found, printed, said) = run(&log, policy);
        assert_eq!(found, code, "{said}");
        let logged = std::fs::read_to_string(&log).unwrap();
        let known: Vec<Value> = logged.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let answers = of(&known, "answer").len();
        assert!((5..60).contains(&answers), "{answers}");
        if policy == "stop" {
            // No answer is given that is not in the log.
            assert_eq!(printed.lines().count(), answers);
            assert!(error_line(&said).contains("the audit log cannot be written"), "{said}");
        } else {
            assert_eq!(printed.lines().count(), 60);
            let warnings: Vec<&str> =
                said.lines().filter(|line| line.contains("cannot be written")).collect();
            assert_eq!(warnings.len(), 1, "{said}");
        }
        // The file ends within a line, which the next run closes.
        assert_eq!(verify(&[&log]).1["fault"]["kind"], "torn");
        assert!(bench.predict(&log, &[&bench.file(0)]).status.success());
        let report = whole(&log);
        assert_eq!((&report["runs"], &report["unfinished"]), (&2.into(), &1.into()), "{report}");
        assert_eq!(report["torn"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_log_is_one_process_s_own_and_none_of_its_inputs() {
    let bench = Bench::new();
    let log = bench.path("audit.jsonl");
    let running = bench.start(&["--audit", log.to_str().unwrap()]);
    let second = bench.predict(&log, &[&bench.file(0)]);
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(error_line(&said).contains("another process writes to this audit log"), "{said}");
    assert_eq!((second.status.code(), second.stdout.len()), (Some(2), 0));
    running.finish();
    whole(&log);

    let (model, head) = (tiny_model(), bench.path("head.safetensors"));
    let refused = |file: &Path, image: &dyn AsRef<OsStr>| {
        let bytes = || file.is_file().then(|| std::fs::read(file).unwrap());
        let before = bytes();
        let said = failure(&[&"predict", &model, &"--head", &head, image, &"--audit", &file]);
        assert!(bytes() == before, "{said}");
        said
    };
    for input in [&head, &model.join("model.safetensors"), &bench.file(0)] {
        assert!(refused(input, &bench.file(0)).contains("which this command reads"));
    }
    assert!(refused(&bench.file(1), &bench.file(0)).contains("is no audit log"));
    assert!(refused(Path::new("/dev/full"), &bench.file(0)).contains("is no audit log"));
    assert!(refused(&bench.path("data"), &bench.file(0)).contains("is no audit log"));
    let inside = bench.path("data").join("rows").join("audit.jsonl");
    let folder = bench.path("data").join("rows");
    let said = failure(&[&"stream", &model, &"--head", &head, &folder, &"--audit", &inside]);
    assert!(said.contains("all files of this folder are read") && !inside.exists(), "{said}");
    let said = failure(&[&"predict", &model, &"--head", &head, &bench.file(0), &"--audit-full", &"go-on"]);
    assert!(said.contains("--audit"), "{said}");
}

#[test]
fn a_large_log_is_put_aside() {
    let folder = tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let bench = Bench::new();
    let pictures: Vec<PathBuf> = (0..12).map(|number| bench.file(number)).collect();
    let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&"--audit-max", &"2KiB", &"--audit-sync", &"line"];
    arguments.extend(pictures.iter().map(|picture| picture as &dyn AsRef<OsStr>));
    assert!(bench.predict(&log, &arguments).status.success());
    assert!(listing(folder.path()).len() > 2, "{:?}", listing(folder.path()));
    let mut files: Vec<PathBuf> =
        (1..).map(|n| log.with_extension(format!("jsonl.{n}"))).take_while(|file| file.exists()).collect();
    files.push(log.clone());
    files.iter().for_each(|file| drop(lines(file)));
    let all: Vec<&dyn AsRef<OsStr>> = files.iter().map(|file| file as &dyn AsRef<OsStr>).collect();
    let (code, report) = verify(&all);
    assert_eq!((code, &report["runs"], &report["unfinished"]), (0, &1.into(), &0.into()), "{report}");
    assert_eq!(verify(&all[1..]).0, 0);
    assert_eq!(verify(&[all[0], all[2]]).1["fault"]["kind"], "removed");
}
