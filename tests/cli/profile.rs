//! `profile`, `compare`, and resuming a sweep that was killed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::tempdir;

use crate::common::*;

/// A quick sweep of the tiny model, with the arguments `more` added.
fn quick(more: &[&dyn AsRef<std::ffi::OsStr>]) -> Vec<std::ffi::OsString> {
    let model = tiny_model();
    let usual: [&dyn AsRef<std::ffi::OsStr>; 8] =
        [&"profile", &model, &"--sizes", &"32,48x80", &"--threads", &"1,2", &"--runs", &"12"];
    usual
        .iter()
        .chain(&[&"--seconds" as &dyn AsRef<std::ffi::OsStr>, &"0"])
        .chain(more)
        .map(|a| a.as_ref().to_owned())
        .collect()
}

fn run(args: &[std::ffi::OsString]) -> String {
    success(&args.iter().map(|a| a as &dyn AsRef<std::ffi::OsStr>).collect::<Vec<_>>())
}

fn results(folder: &Path) -> Value {
    json(&std::fs::read_to_string(folder.join("results.json")).unwrap())
}

fn rows(results: &Value) -> &Vec<Value> {
    results["rows"].as_array().unwrap()
}

#[test]
fn a_report_holds_every_row_with_all_that_was_measured() {
    let folder = tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_dataset(&data, &["columns", "rows"], 12);
    let scenarios = "single-stream,multi-stream,offline,camera";
    let text = run(&quick(&[&"--data", &data, &"-o", &out, &"--scenario", &scenarios, &"--fps", &"200"]));
    assert!(text.contains("48x80") && !text.contains("UNTRAINED"), "{text}");
    let files = listing(&out);
    for name in ["report.html", "report.md", "results.csv", "results.json", "heads"] {
        assert!(files.contains(&name.to_owned()), "{files:?}");
    }
    assert!(!files.iter().any(|name| name.starts_with('.')), "{files:?}");
    let results = results(&out);
    let environment = &results["environment"];
    assert!(!environment["machine"]["cpus"].as_array().unwrap().is_empty());
    assert!(environment["before"].is_object() && environment["after"].is_object());
    assert_eq!((results["schema"].as_u64(), results["protocol"]["starts"].as_u64()), (Some(4), Some(1)));
    assert_eq!(rows(&results).len(), 4);
    for row in rows(&results) {
        let l = &row["latency"];
        let names = ["min_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms"];
        let order: Vec<f64> = names.map(|k| l[k].as_f64().unwrap()).to_vec();
        assert!(order[0] > 0.0 && order.is_sorted(), "{row}");
        assert!(row["accuracy"]["value"].as_f64().unwrap() >= 0.5);
        assert_eq!(row["rounds"].as_array().unwrap().len(), 3);
        let shares: f64 =
            row["operators"].as_array().unwrap().iter().map(|o| o["share"].as_f64().unwrap()).sum();
        assert!((shares - 1.0).abs() < 1e-6, "{row}");
        let stages = &row["stages"];
        let parts = ["decode_ms", "resize_ms", "embed_ms", "blocks_ms", "head_ms"];
        assert!(parts.iter().all(|part| stages[part].as_f64().unwrap() > 0.0), "{stages}");
        let names: Vec<&str> =
            row["scenarios"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["MultiStream", "Offline", "Camera"]);
        if !emulated() {
            assert!(row["cold"]["peak_kib"].as_u64().unwrap() > 1000, "{row}");
        }
    }
    let truth = results["outcomes"][0]["truth"].as_array().unwrap().len();
    assert_eq!(Some(truth as u64), results["data"]["held_out"].as_u64());
    let csv = std::fs::read_to_string(out.join("results.csv")).unwrap();
    assert_eq!(csv.lines().count(), 5);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/results-schema.json");
    let schema = json(&std::fs::read_to_string(path).unwrap());
    check_members(&results, &schema, &schema, "results");
    // The same accuracies as in a run without a report, and as from the cache.
    let again = json(&run(&quick(&[&"--data", &data, &"--json"])));
    assert_eq!(again["outcomes"], results["outcomes"]);
}

#[test]
fn an_untrained_model_is_said_to_be_one() {
    let text = success(&[
        &"profile",
        &"untrained:deit-tiny",
        &"--sizes",
        &"32",
        &"--threads",
        &"1",
        &"--runs",
        &"3",
        &"--seconds",
        &"0",
    ]);
    assert!(text.contains("UNTRAINED") && text.contains("too few runs: 3 of 10"), "{text}");
}

/// The accuracy of a head on random features is not listed next to one on trained features.
#[test]
fn an_untrained_model_beside_another_is_timed_only() {
    let folder = tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_dataset(&data, &["columns", "rows"], 12);
    let model = tiny_model();
    let both: [&dyn AsRef<std::ffi::OsStr>; 7] =
        [&"profile", &model, &"untrained:deit-tiny", &"--data", &data, &"--sizes", &"32"];
    let quick: [&dyn AsRef<std::ffi::OsStr>; 9] =
        [&"--threads", &"1", &"--runs", &"3", &"--seconds", &"0", &"--no-cold", &"-o", &out];
    let text = success(&[both.as_slice(), &quick].concat());
    assert!(text.contains("latency only: the weights of deit-tiny come from a seed"), "{text}");
    assert!(!text.contains("random"), "{text}");
    let results = results(&out);
    let accuracy = |row: &Value| (row["untrained"].as_bool().unwrap(), row["accuracy"].is_null());
    assert_eq!(rows(&results).iter().map(accuracy).collect::<Vec<_>>(), [(false, false), (true, true)]);
    assert_eq!(results["outcomes"].as_array().unwrap().len(), 1);
    assert_eq!(listing(&out.join("heads")).len(), 1);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/results-schema.json");
    let schema = json(&std::fs::read_to_string(path).unwrap());
    check_members(&results, &schema, &schema, "results");
}

#[test]
fn every_isa_is_a_row_and_all_agree() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    write_dataset(&data, &["columns", "rows"], 12);
    let found = json(&run(&quick(&[&"--isa", &"all", &"--data", &data, &"--json", &"--no-cold"])));
    let isas: BTreeSet<&str> = rows(&found).iter().map(|row| row["isa"].as_str().unwrap()).collect();
    assert!(isas.contains("scalar") && isas.len() > 1, "{isas:?}");
    assert_eq!(rows(&found).len(), 4 * isas.len());
    // One accuracy per size, because the features are the same bits.
    assert_eq!(found["outcomes"].as_array().unwrap().len(), 2);
    assert!(
        failure(&[&"info", &tiny_model(), &"--isa", &"all"]).contains("no instruction set is called 'all'")
    );
}

#[test]
fn a_decision_is_deployed_and_predicts() {
    let folder = tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_dataset(&data, &["columns", "rows"], 12);
    let text = run(&quick(&[&"--data", &data, &"-o", &out, &"--budget", &"60s", &"--no-cold"]));
    assert!(text.contains("90th percentile of the latency at most 60000 ms"), "{text}");
    let deploy = out.join("deploy.toml");
    let image = data.join("rows/00.png");
    let line = json(&success(&[&"predict", &"--deploy", &deploy, &image]));
    assert_eq!(line["heads"][0]["class"], "rows", "{line}");
    let chosen = results(&out)["decision"]["row"].as_u64().unwrap() as usize;
    let size = rows(&results(&out))[chosen]["height"].as_u64().unwrap();
    assert!(std::fs::read_to_string(&deploy).unwrap().contains(&format!("size = \"{size}")));
    // If no configuration is within the limits, an older deployment file is removed.
    let text = run(&quick(&[&"--data", &data, &"-o", &out, &"--budget", &"0.000001ms", &"--no-cold"]));
    assert!(text.contains("no configuration is within the limits") && !deploy.exists(), "{text}");
    assert!(failure(&[&"predict", &"--deploy", &deploy, &image]).contains("deploy.toml: "));
    assert!(failure(&[&"predict", &tiny_model(), &image]).contains("--head"));
}

#[test]
fn compare_is_a_gate() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    run(&quick(&[&"-o", &out, &"--no-cold"]));
    let (path, slow) = (out.join("results.json"), folder.path().join("slow.json"));
    let same = success(&[&"compare", &path, &path]);
    assert!(same.contains("no regression"), "{same}");
    let mut changed = results(&out);
    for row in changed["rows"].as_array_mut().unwrap() {
        for ms in row["runs_ms"].as_array_mut().unwrap() {
            *ms = (ms.as_f64().unwrap() * 3.0).into();
        }
        for field in ["p50_ms", "p90_ms"] {
            row["latency"][field] = (row["latency"][field].as_f64().unwrap() * 3.0).into();
        }
    }
    std::fs::write(&slow, changed.to_string()).unwrap();
    let output = microraptor(&[&"compare", &path, &slow]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("regression: ") && text.contains("3.00 times as slow"), "{text}");
    assert!(success(&[&"compare", &path, &slow, &"--tolerance", &"900%"]).contains("no regression"));
    assert!(success(&[&"compare", &slow, &path]).contains("faster"));
    assert!(failure(&[&"compare", &path, &tiny_model()]).contains("cannot be read"));
    assert!(failure(&[&"compare", &path, &golden("vit/hf_s/config.json")]).contains("schema"));
}

/// A peer is a row of the results. This one is a shell script that derives its answer from the file's path.
#[test]
fn a_peer_is_timed_and_judged_beside_the_others() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    write_dataset(&data, &["columns", "rows"], 12);
    let script = folder.path().join("peer.sh");
    std::fs::write(&script, "while read p; do case $p in *rows*) echo 1 0;; *) echo 0 1;; esac; done\n")
        .unwrap();
    let peer = format!("script=sh {}", script.display());
    let found = json(&run(&quick(&[&"--peer", &peer, &"--data", &data, &"--json", &"--no-cold"])));
    let peers: Vec<&Value> = rows(&found).iter().filter(|row| row["backend"] == "peer script").collect();
    assert_eq!((peers.len(), rows(&found).len()), (4, 8));
    assert!(peers.iter().all(|row| row["accuracy"]["value"] == 1.0 && row["isa"].is_null()));
    let broken = failure(&[&"profile", &tiny_model(), &"--sizes", &"32", &"--peer", &"x=echo words"]);
    assert!(broken.starts_with("peer x: answered 'words'"), "{broken}");
}

#[test]
fn a_machine_that_is_throttled_makes_every_row_invalid() {
    let folder = tempdir().unwrap();
    let cooling = folder.path().join("sys/class/thermal/cooling_device0");
    std::fs::create_dir_all(&cooling).unwrap();
    std::fs::write(cooling.join("type"), "cpufreq-cpu0\n").unwrap();
    let verdicts = |state: &str| -> Vec<Vec<String>> {
        std::fs::write(cooling.join("cur_state"), state).unwrap();
        let found = json(&run(&quick(&[&"--sensors", &folder.path(), &"--json", &"--no-cold"])));
        let texts = |row: &Value| {
            let all = row["verdict"]["reasons"].as_array().unwrap();
            all.iter().map(|r| r.as_str().unwrap().to_owned()).filter(|r| r.contains("throttled")).collect()
        };
        rows(&found).iter().map(texts).collect()
    };
    assert!(verdicts("0\n").iter().all(Vec::is_empty));
    let hot = verdicts("2\n");
    assert!(hot.len() == 4 && hot.iter().all(|reasons| reasons.len() == 1), "{hot:?}");
}

/// Lines of the journal in `folder`: key and value.
fn journal(folder: &Path) -> Vec<(String, Value)> {
    let Some(name) = listing(folder).into_iter().find(|name| name.starts_with(".sweep-")) else {
        return Vec::new();
    };
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    // An incomplete last line does not count.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_sweep_that_is_killed_at_any_moment_goes_on_where_it_was() {
    let folder = tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_dataset(&data, &["columns", "rows"], 12);
    std::fs::create_dir(&out).unwrap();
    let args = quick(&[&"--data", &data, &"-o", &out, &"--no-cold"]);
    // The delays are the same in every run of the test; the state at which they interrupt the sweep depends on the
    // machine.
    let mut state = 12345u64;
    let mut kept: Vec<(String, Value)> = Vec::new();
    let (mut kills, mut starts) = (0, 0);
    while kills < 20 && !out.join("results.json").exists() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut child = program().args(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The delays grow, because start-up always takes the same time and less work is left after each run. An
        // emulated program takes ten times as long to start.
        let slow = if emulated() { 10 } else { 1 };
        std::thread::sleep(Duration::from_millis(slow * (5 + (state >> 33) % (40 + 10 * kills))));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let all = journal(&out);
        starts = all.iter().filter(|(key, _)| key == "start").count();
        let now: Vec<_> = all.into_iter().filter(|(key, _)| key != "start").collect();
        assert!(now.len() >= kept.len() && now[..kept.len()] == kept[..], "a part was lost or changed");
        let keys: BTreeSet<&String> = now.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), now.len(), "a part is there twice");
        kept = now;
    }
    if out.join("results.json").exists() {
        // On a fast machine the last run finished before it was killed, so nothing is left to resume.
        return check_runs(&out, &kept);
    }
    run(&args);
    assert!(journal(&out).is_empty());
    assert_eq!(results(&out)["protocol"]["starts"].as_u64(), Some(starts as u64 + 1));
    check_runs(&out, &kept);
}

/// Every run is counted once, and those of earlier starts are unchanged in the results.
fn check_runs(out: &Path, kept: &[(String, Value)]) {
    let results = results(out);
    assert_eq!(rows(&results).len(), 4);
    for row in rows(&results) {
        let runs = row["runs_ms"].as_array().unwrap();
        assert_eq!((runs.len(), row["latency"]["runs"].as_u64()), (12, Some(12)), "{row}");
    }
    let all: Vec<&Value> = rows(&results).iter().flat_map(|row| row["runs_ms"].as_array().unwrap()).collect();
    for (_, record) in kept.iter().filter(|(key, _)| key.starts_with("round/")) {
        let first = &record["runs_ms"][0];
        assert_eq!(all.iter().filter(|ms| **ms == first).count(), 1, "{record}");
    }
}

/// A limit of 64 blocks of 512 bytes on the file size affects the program like a full disk.
#[test]
fn a_full_disk_leaves_the_old_report_whole() {
    if emulated() {
        return crate::support::missing("the emulator would be limited too");
    }
    let folder = tempdir().unwrap();
    let out = folder.path().join("out");
    let args = quick(&[&"-o", &out, &"--no-cold"]);
    run(&args);
    let read = || {
        let files = listing(&out);
        files.iter().map(|name| std::fs::read(out.join(name)).unwrap_or_default()).collect::<Vec<_>>()
    };
    let (names, before) = (listing(&out), read());
    let quoted: Vec<String> = args.iter().map(|a| format!("'{}'", a.to_str().unwrap())).collect();
    let command = format!(
        "trap '' XFSZ; ulimit -f 64; exec '{}' {}",
        env!("CARGO_BIN_EXE_microraptor"),
        quoted.join(" ")
    );
    let output = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.lines().count() == 1 && stderr.starts_with("error: "), "{stderr}");
    let left: Vec<String> = listing(&out).into_iter().filter(|name| !name.starts_with(".sweep-")).collect();
    assert_eq!(left, names);
    let whole = names.iter().zip(&before);
    assert!(
        whole.into_iter().all(|(name, bytes)| std::fs::read(out.join(name)).unwrap_or_default() == *bytes)
    );
    // Without the limit the sweep ends at once, because its parts are already in the journal.
    run(&args);
    assert_eq!(results(&out)["protocol"]["starts"].as_u64(), Some(2));
}

#[test]
fn what_cannot_be_measured_is_refused_before_the_minutes() {
    let model = tiny_model();
    let profile = |more: &[&dyn AsRef<std::ffi::OsStr>]| {
        let start: [&dyn AsRef<std::ffi::OsStr>; 2] = [&"profile", &model];
        failure(&start.iter().chain(more).copied().collect::<Vec<_>>())
    };
    for (args, problem) in [
        (["--budget", "soon"], "40ms"),
        (["--scenario", "server"], "give single-stream, multi-stream, offline or camera"),
        (["--fps", "0"], "--fps 0"),
        (["--peer", "alone"], "NAME=COMMAND"),
        (["--min-auc", "0.9"], "--data"),
        (["--signals", "busy"], "busy"),
        (["--power-meter", "ina226:/dev/i2c-99:0x40:0.01"], ""),
        (["--power-meter", "thermometer"], "ina2"),
    ] {
        let message = profile(&[&args[0], &args[1]]);
        assert!(message.contains(problem), "{args:?}: {message}");
    }
}
