//! What a prediction was computed with: digests in heads and deployment files, and files that are opened only once.

use std::path::Path;

use sha2::{Digest, Sha256};
use tempfile::tempdir;

use crate::common::*;

fn sha256(path: &Path) -> String {
    Sha256::digest(std::fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Trains a head on `data` at `size`.
fn train(data: &Path, size: &str, head: &Path) {
    success(&[&"train", &tiny_model(), &"--data", &data, &"-o", &head, &"--size", &size, &"--json"]);
}

/// The value of `key = "..."` in a TOML file.
fn value<'t>(text: &'t str, key: &str) -> &'t str {
    let (_, rest) = text.split_once(&format!("\n{key} = \"")).unwrap_or_else(|| panic!("{key} in {text}"));
    rest.split_once('"').unwrap().0
}

#[test]
fn a_deployment_runs_only_what_was_measured() {
    let folder = tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    write_dataset(&data, &["columns", "rows"], 12);
    let more: [Arg; 6] = [&"--data", &data, &"--budget", &"60s", &"-o", &out];
    success(&quick_profile(&tiny_model(), &"32", &more));
    let deploy = out.join("deploy.toml");
    let image = data.join("rows/00.png");
    let text = std::fs::read_to_string(&deploy).unwrap();
    let head = out.join(value(&text, "head"));
    let model = sha256(&tiny_model().join("model.safetensors"));
    assert_eq!((value(&text, "sha256"), value(&text, "head_sha256")), (&*model, &*sha256(&head)));
    let line = json(&success(&[&"predict", &"--deploy", &deploy, &image]));
    assert_eq!(
        (&line["model"]["sha256"], &line["heads"][0]["sha256"]),
        (&model.into(), &sha256(&head).into())
    );

    // Another valid head, of the same backbone and size, replaces the one that was measured.
    let measured = std::fs::read(&head).unwrap();
    std::fs::remove_file(data.join("rows/11.png")).unwrap();
    train(&data, "32", &head);
    let error = failure(&[&"predict", &"--deploy", &deploy, &image]);
    for digest in [value(&text, "head_sha256"), &sha256(&head)] {
        assert!(error.contains(&digest[..16]) && error.contains("deploy.toml"), "{error}");
    }
    std::fs::write(&head, measured).unwrap();

    // A different model from the one that was measured.
    let other = "0123456789abcdef".repeat(4);
    std::fs::write(&deploy, text.replacen(value(&text, "sha256"), &other, 1)).unwrap();
    let error = failure(&[&"predict", &"--deploy", &deploy, &image]);
    for digest in [value(&text, "sha256"), &other] {
        assert!(error.contains(&digest[..16]) && error.contains("the model of SHA-256"), "{error}");
    }
}

#[test]
fn a_changed_head_is_refused() {
    let folder = tempdir().unwrap();
    let (data, head) = (folder.path().join("data"), folder.path().join("head.safetensors"));
    write_dataset(&data, &["columns", "rows"], 12);
    train(&data, "32", &head);
    let image = data.join("rows/00.png");
    let sound = std::fs::read(&head).unwrap();
    let text = String::from_utf8_lossy(&sound).into_owned();
    assert!(text.contains(r#"\"columns\",\"rows\""#), "{text}");
    let names = sound.windows(18).position(|w| w == br#"columns\",\"rows\""#.as_slice());
    let swapped = {
        let (at, mut bytes) = (names.unwrap(), sound.clone());
        bytes[at..at + 18].copy_from_slice(br#"rows\",\"columns\""#);
        bytes
    };
    let flipped = {
        let mut bytes = sound.clone();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    for bytes in [swapped, flipped] {
        std::fs::write(&head, bytes).unwrap();
        let error = failure(&[&"predict", &tiny_model(), &"--head", &head, &image]);
        assert!(error.contains("its digest is not that of its bytes"), "{error}");
        let error = failure(&[&"evaluate", &tiny_model(), &"--head", &head, &"--data", &data]);
        assert!(error.contains("its digest is not that of its bytes"), "{error}");
    }
}

/// Number of times that `path` is opened while `work` runs, according to inotify(7).
#[cfg(target_os = "linux")]
fn opened<T>(path: &Path, work: impl FnOnce() -> T) -> (usize, T) {
    use rustix::fs::inotify;
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    // inotify merges equal consecutive events. Watching for closing as well separates the events of a file that is
    // opened repeatedly.
    let events = inotify::WatchFlags::OPEN | inotify::WatchFlags::CLOSE_NOWRITE;
    inotify::add_watch(&watch, path, events).unwrap();
    let result = work();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(&watch, &mut buffer);
    let mut count = 0;
    while let Ok(event) = reader.next() {
        count += usize::from(event.events().contains(inotify::ReadFlags::OPEN));
    }
    (count, result)
}

#[cfg(target_os = "linux")]
#[test]
fn each_file_of_a_deployment_is_read_once() {
    let folder = tempdir().unwrap();
    let (data, head) = (folder.path().join("data"), folder.path().join("head.safetensors"));
    write_dataset(&data, &["columns", "rows"], 12);
    train(&data, "32", &head);
    let image = data.join("rows/00.png");
    let run = || success(&[&"predict", &tiny_model(), &"--head", &head, &image]);
    let (count, line) = opened(&head, run);
    assert_eq!((count, json(&line)["heads"][0]["sha256"].as_str()), (1, Some(sha256(&head).as_str())));

    // A separate copy, because other tests open the model too.
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    let (weights, config) = (model.join("model.safetensors"), model.join("config.json"));
    std::fs::copy(tiny_model().join("model.safetensors"), &weights).unwrap();
    std::fs::copy(tiny_model().join("config.json"), &config).unwrap();
    let golden = std::fs::read_to_string(golden("profile/deploy.toml")).unwrap();
    let mut deploy: toml::Table = golden.parse().unwrap();
    for (key, value) in [
        ("model", model.display().to_string()),
        ("head", head.display().to_string()),
        ("head_sha256", sha256(&head)),
        ("isa", "scalar".into()),
    ] {
        deploy.insert(key.into(), value.into());
    }
    let file = folder.path().join("deploy.toml");
    std::fs::write(&file, deploy.to_string()).unwrap();
    let run = || success(&[&"predict", &"--deploy", &file, &image]);
    let model = || opened(&weights, || opened(&config, || opened(&image, run)));
    let (deploys, (heads, (weights, (configs, (images, line))))) = opened(&file, || opened(&head, model));
    assert_eq!([deploys, heads, weights, configs], [1; 4]);
    // Opened once for the first bytes, which identify the format, and once for reading.
    assert_eq!(images, 2);
    assert_eq!(json(&line)["heads"][0]["sha256"], sha256(&head));
}
