//! Every program of `examples/` runs on the built-in backbone's file and golden inputs. `cargo test` builds the
//! examples together with this test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MODEL: &str = "models/demo/demo.safetensors";

/// Output of the example `name`, run with `args` and with the file `input` on standard input.
fn run(name: &str, args: &[&Path], input: Option<&str>) -> String {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.parent().and_then(Path::parent).unwrap();
    let program = folder.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "{}: build it first: cargo build --examples", program.display());
    let stdin = input.map_or(Stdio::null(), |path| std::fs::File::open(path).unwrap().into());
    let done = Command::new(program).args(args).stdin(stdin).output().unwrap();
    let (out, error) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert!(done.status.success(), "{name}: {out}{error}");
    out
}

#[test]
fn examples_print_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let (model, picture) = (Path::new(MODEL), Path::new("tests/golden/pixels_rgb8.png"));
    let found = run("features", &[model, picture, Path::new("64")], None);
    assert!(found.contains("patch [4, 4, 192]"), "{found}");

    // Two heads of different seeds would do, but the same file given twice is as good.
    let head: PathBuf = folder.path().join("head.safetensors");
    let found = run("train_and_predict", &[model, &head], None);
    assert!(found.contains("classes [\"") && found.contains("ValidationSummary"), "{found}");
    let found = run("several_heads", &[model, picture, &head, &head], None);
    assert_eq!(found.lines().filter(|line| line.starts_with("linear: [")).count(), 2, "{found}");

    let found = run("camera", &[model, &head], Some("tests/golden/y4m/bt2020_12.y4m"));
    assert!(found.starts_with("frame 0: ") && found.ends_with("1 answers for the whole clip\n"), "{found}");
    #[cfg(feature = "onnx")]
    {
        let found = run("onnx_graph", &[Path::new("tests/golden/onnx/cnn-fixed.onnx"), picture], None);
        assert!(found.contains("runs on tract f32") && found.contains("cls ["), "{found}");
        let graph = Path::new("tests/golden/onnx/forms/segmenter.onnx");
        let found = run("accelerate", &[graph, Path::new("16"), Path::new("24")], None);
        assert!(found.contains("2 blocks of width 16 run on microraptor"), "{found}");
        assert_eq!(found.lines().filter(|line| line.contains("differs by at most")).count(), 2, "{found}");
    }
}
