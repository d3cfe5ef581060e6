//! `include/microraptor.h` is what cbindgen makes of `src/ffi`. `MICRORAPTOR_HEADER=write cargo test --test header` writes it.

use std::fs;
use std::path::Path;

/// The files of `src/ffi` that say something to C.
const SOURCES: [&str; 8] = ["mod", "status", "model", "frame", "pipeline", "answer", "extractor", "trust"];

fn header(root: &Path) -> String {
    let config = cbindgen::Config::from_file(root.join("include/cbindgen.toml")).unwrap();
    // It goes from there to the other files.
    let builder = cbindgen::Builder::new().with_config(config).with_src(root.join("src/ffi/mod.rs"));
    let mut written = Vec::new();
    builder.generate().unwrap().write(&mut written);
    // Rust's heading for what a caller has to keep to.
    let lines = String::from_utf8(written).unwrap();
    lines
        .lines()
        .filter(|line| line.trim() != "// # Safety")
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

#[test]
fn the_header_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (path, made) = (root.join("include/microraptor.h"), header(root));
    if std::env::var_os("MICRORAPTOR_HEADER").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == made,
        "include/microraptor.h is not what src/ffi gives: MICRORAPTOR_HEADER=write writes it"
    );
}

#[test]
fn the_library_exports_what_the_header_declares() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let declared = header(root);
    let mut count = 0;
    for name in SOURCES {
        let text = fs::read_to_string(root.join(format!("src/ffi/{name}.rs"))).unwrap();
        for function in text.split("extern \"C\" fn ").skip(1).map(|rest| rest.split('(').next().unwrap()) {
            let declarations = declared.lines().filter(|line| line.contains(&format!("{function}(")));
            assert_eq!(declarations.filter(|line| !line.starts_with(' ')).count(), 1, "{function}");
            count += 1;
        }
    }
    assert!(count > 25, "{count}");
}
