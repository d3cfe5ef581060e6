//! Shared by the command-line tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A small real checkpoint in transformers' naming.
pub fn tiny_model() -> PathBuf {
    golden("vit/hf_s")
}

/// A file under `tests/golden`.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The program, under the runner that Cargo uses for this target (an emulator, if the tests are emulated).
///
/// Cargo starts the tests under the runner, but not the programs that the tests start. Only the environment variable
/// is read, not a `runner` in a configuration file.
///
/// Features are cached in Cargo's folder for tests, not in the user's cache.
pub fn program() -> Command {
    let mut command = bare_program();
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

fn bare_program() -> Command {
    let program = env!("CARGO_BIN_EXE_microraptor");
    let libc = if cfg!(target_env = "musl") { "MUSL" } else { "GNU" };
    let variable =
        format!("CARGO_TARGET_{}_UNKNOWN_LINUX_{libc}_RUNNER", std::env::consts::ARCH.to_uppercase());
    let runner = std::env::var(variable).unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(first) = words.next() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(words).arg(program);
    command
}

/// Runs the program.
pub fn microraptor(args: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    program().args(args.iter().map(|a| a.as_ref())).output().expect("the binary was built for this test")
}

/// A command-line argument.
pub type Arg<'a> = &'a dyn AsRef<std::ffi::OsStr>;

/// The arguments of a profile that is as short as possible, and `more`.
pub fn quick_profile<'a>(model: Arg<'a>, size: Arg<'a>, more: &[Arg<'a>]) -> Vec<Arg<'a>> {
    let quick: [Arg; 11] = [
        &"profile",
        model,
        &"--sizes",
        size,
        &"--threads",
        &"1",
        &"--runs",
        &"3",
        &"--seconds",
        &"0",
        &"--no-cold",
    ];
    [&quick, more].concat()
}

/// Parses a program's output as JSON.
pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Standard output of a run that must succeed.
pub fn success(args: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
    let output = microraptor(args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The error line of a run that must fail in the standard way: exit code 2, a single line apart from earlier
/// warnings, and nothing on standard output.
pub fn failure(args: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
    let output = microraptor(args);
    let stderr = String::from_utf8(output.stderr).expect("messages are UTF-8");
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{stderr}");
    error_line(&stderr).to_owned()
}

/// Standard error without the warning about the size, because the tiny model's files name another size.
#[cfg(any(feature = "dicom", feature = "nifti"))]
pub fn said_of_files(stderr: &[u8]) -> String {
    let size = "[WARN ] --size ";
    String::from_utf8_lossy(stderr)
        .lines()
        .filter(|line| !line.starts_with(size))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The single line of an error, apart from earlier warnings.
pub fn error_line(stderr: &str) -> &str {
    let mut errors = stderr.lines().filter(|line| !line.starts_with("[WARN ] "));
    let error = errors.next().and_then(|line| line.strip_prefix("error: "));
    assert_eq!(errors.count(), 0, "{stderr}");
    error.expect("a message says that it is an error").trim_end()
}

/// Names of the entries of a folder.
pub fn listing(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Writes a grey PNG whose texture depends on `kind` and `seed`.
pub fn write_image(path: &Path, kind: usize, seed: usize) {
    let (width, height) = (40, 36);
    let pixel = |x: usize, y: usize| {
        let stripes = [x, y, x + y][kind % 3] * (5 + kind);
        (stripes * 13 + (x * 7 + y * 31 + seed * 17) % 23) as u8
    };
    let pixels: Vec<u8> = (0..width * height).map(|i| pixel(i % width, i / width)).collect();
    image::save_buffer(path, &pixels, width as u32, height as u32, image::ColorType::L8).expect("writable");
}

/// A folder with one subfolder per class, of `per_class` images each.
pub fn write_dataset(folder: &Path, classes: &[&str], per_class: usize) {
    for (kind, class) in classes.iter().enumerate() {
        std::fs::create_dir_all(folder.join(class)).expect("writable");
        for i in 0..per_class {
            write_image(&folder.join(class).join(format!("{i:02}.png")), kind, i);
        }
    }
}

/// Whether the program runs under an emulator. Processes that the program itself starts do not.
pub fn emulated() -> bool {
    bare_program().get_program() != std::ffi::OsStr::new(env!("CARGO_BIN_EXE_microraptor"))
}

/// Checks the members of `value` against `schema`: none is missing, none is unknown. Types are left to `jsonschema`.
pub fn check_members(value: &Value, schema: &Value, root: &Value, place: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(name) => &root["$defs"][name.trim_start_matches("#/$defs/")],
        None => schema,
    };
    if let Some(choices) = schema["oneOf"].as_array() {
        if !value.is_null() {
            check_members(value, choices.last().unwrap(), root, place);
        }
        return;
    }
    if let (Some(items), true) = (value.as_array(), schema["items"].is_object()) {
        items.iter().for_each(|item| check_members(item, &schema["items"], root, place));
    }
    let (Some(members), Some(known)) = (value.as_object(), schema["properties"].as_object()) else { return };
    for name in schema["required"].as_array().unwrap() {
        assert!(members.contains_key(name.as_str().unwrap()), "{place} lacks {name}");
    }
    for (name, member) in members {
        let place = format!("{place}.{name}");
        match known.get(name) {
            Some(schema) => check_members(member, schema, root, &place),
            None => assert_eq!(schema["additionalProperties"], Value::Null, "{place} is not in the schema"),
        }
    }
}
