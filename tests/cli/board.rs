//! `microraptor board`, and `--cores` in the commands that take threads.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::tempdir;

use super::common::{failure, golden, success, tiny_model};

fn tree(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boards").join(name)
}

#[test]
fn prints_what_it_found_beside_what_the_file_says() {
    let orin = success(&[&"board", &"--root", &tree("jetson-orin-nano")]);
    for expected in [
        "NVIDIA Jetson Orin Nano Developer Kit\n",
        "board file jetson-orin-nano:",
        "1510 (file: 1728)",
        "asimd asimdhp asimddp",
        "runs on       cores 0-3, 4 threads",
        "ina3221 VDD_IN 4662 mW at 5.02 V: the whole module",
        "trigger on header pin 29 (tegra234-gpio line 105)",
        "power mode    nvpmodel 1 7W\n",
        "warning: cluster all: 4 of the file's 6",
    ] {
        assert!(orin.contains(expected), "{expected} is not in\n{orin}");
    }
    assert!(!orin.contains('\u{1b}'), "no colour in a pipe");
    let rock = success(&[&"board", &"--root", &tree("rock-5b"), &"--threads", &"6"]);
    assert!(rock.contains("runs on       cores 0,1,4-7, 6 threads (big + little"), "{rock}");
    assert!(success(&[&"board"]).contains("runs on"));
}

#[test]
fn lists_boards_and_prints_json() {
    let list = success(&[&"board", &"--list"]);
    assert_eq!(list.lines().filter(|line| line.contains("Cortex-A78AE")).count(), 2, "{list}");
    let list: Value = serde_json::from_str(&success(&[&"board", &"--list", &"--json"])).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 12);

    let rock: Value =
        serde_json::from_str(&success(&[&"board", &"--json", &"--root", &tree("rock-5b")])).unwrap();
    assert_eq!(rock["recognised"]["board"]["name"], "rock-5b");
    assert_eq!(rock["choice"]["cores"]["cpus"], serde_json::json!([4, 5, 6, 7]));
    assert_eq!(rock["state"]["clocks"].as_array().unwrap().len(), 8);
    assert_eq!(rock["warnings"][0]["about"], "governor");
}

#[test]
fn a_board_file_of_ones_own_needs_no_code() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("cart.toml");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/rock-5b.toml");
    let text = fs::read_to_string(shipped).unwrap();
    let mine = text.replacen("Radxa ROCK 5B\"", "Ultrasound cart\"", 1).replacen(
        "clusters = [\"big\"]",
        "clusters = [\"little\"]",
        1,
    );
    fs::write(&file, &mine).unwrap();
    let out = success(&[&"board", &"--root", &tree("rock-5b"), &"--board", &file]);
    assert!(out.contains("board file cart: Ultrasound cart"), "{out}");
    assert!(out.contains("cores 0-3, 4 threads (little:"), "{out}");

    fs::write(&file, mine.replacen("max_mhz = 2400", "max_mhz = \"fast\"", 1)).unwrap();
    let message = failure(&[&"board", &"--board", &file]);
    let line = 1 + mine.lines().position(|line| line.starts_with("max_mhz")).unwrap();
    assert!(
        message.contains(&format!("cart.toml, line {line}: clusters.max_mhz: invalid type")),
        "{message}"
    );
    assert!(failure(&[&"board", &"--board", &"abacus"]).contains("'abacus'"));
    assert!(failure(&[&"board", &"--root", &folder.path().join("none")]).contains("no such folder"));
}

/// The tests run on any machine and in any container, so the core numbers come from the machine itself.
#[test]
fn cores_can_be_chosen_and_do_not_change_the_features() {
    let folder = tempdir().unwrap();
    let board: Value = serde_json::from_str(&success(&[&"board", &"--json"])).unwrap();
    let Some(core) = board["machine"]["usable"].as_array().and_then(|cores| cores.first()) else {
        crate::support::missing("this system does not say which cores may be used");
        return;
    };
    let core = core.to_string();
    let embed = |name: &str, more: &[&str]| {
        let file = folder.path().join(name);
        let (model, image) = (tiny_model(), golden("pixels_rgb8.png"));
        let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"embed", &model, &image, &"--size", &"32", &"-o", &file];
        args.extend(more.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>));
        success(&args);
        fs::read(&file).unwrap()
    };
    let plain = embed("a.safetensors", &["--threads", "1"]);
    assert!(plain == embed("b.safetensors", &["--cores", &core]));
    assert!(plain == embed("c.safetensors", &["--cores", &core, "--threads", "3"]));
    assert!(plain == embed("d.safetensors", &["--board", "rock-5b"]));

    let output = folder.path().join("x.safetensors");
    let run = |cores: &str| {
        failure(&[&"embed", &tiny_model(), &golden("pixels_rgb8.png"), &"-o", &output, &"--cores", &cores])
    };
    assert!(run("1023").contains("cores 1023: this process may use"));
    assert!(!output.exists());
}
