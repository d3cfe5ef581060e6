//! Signatures: what is opened, by whom it must be signed, and what happens to it on the way.

use std::fs;
use std::path::{Path, PathBuf};

use microraptor::sign::{Day, Role, SecretKey, Statement, sign_file, signature_of};
use sha2::{Digest, Sha256};
use tempfile::{TempDir, tempdir};

use super::common::*;

fn sha256(path: &Path) -> String {
    Sha256::digest(fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A device with a file of every kind, which two people signed: Anna all but heads, and Ben heads. It does not know Eve.
struct Device {
    folder: TempDir,
    anna: SecretKey,
    ben: SecretKey,
    eve: SecretKey,
}

impl Device {
    fn new() -> Device {
        let folder = tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (model, head, data) = (at("model.safetensors"), at("head.safetensors"), at("data"));
        success(&[&"convert", &tiny_model(), &"--precision", &"f32", &"--size", &"48", &"-o", &model]);
        write_dataset(&data, &["columns", "rows"], 6);
        success(&[&"train", &model, &"--data", &data, &"--size", &"48", &"-o", &head]);
        let measured = fs::read_to_string(golden("profile/deploy.toml")).unwrap();
        let (_, expected) = measured.split_once("[expected]").unwrap();
        let deploy = format!(
            "# A deployment.\nschema = 2\nmodel = \"model.safetensors\"\nsha256 = \"{}\"\nhead = \"head.safetensors\"\n\
             head_sha256 = \"{}\"\nsize = \"48\"\nthreads = 1\n\n[expected]{expected}",
            sha256(&model),
            sha256(&head)
        );
        fs::write(at("deploy.toml"), deploy).unwrap();
        let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/generic-x86-64.toml");
        fs::write(at("board.toml"), format!("# A board.\n{}", fs::read_to_string(board).unwrap())).unwrap();
        let key = || SecretKey::generate("correct horse").unwrap().0;
        let device = Device { anna: key(), ben: key(), eve: key(), folder };
        device.trust("", "");
        Kind::ALL.into_iter().for_each(|kind| device.sign(kind, device.signer(kind), |_| {}));
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the trust file, with more lines on Anna's and on Ben's key.
    fn trust(&self, anna: &str, ben: &str) {
        let (key, other) = (self.anna.public().line(), self.ben.public().line());
        let text = format!(
            "[keys.anna]\npublic = \"{key}\"\nroles = [\"model\", \"deploy\", \"board\"]\n{anna}\n\
             [keys.ben]\npublic = \"{other}\"\nroles = [\"head\"]\n{ben}\n"
        );
        fs::create_dir_all(self.path("trust")).unwrap();
        fs::write(self.path("trust/trust.toml"), text).unwrap();
    }

    fn signer(&self, kind: Kind) -> &SecretKey {
        if kind.role == Role::Head { &self.ben } else { &self.anna }
    }

    /// Signs a file, of which `change` says something else.
    fn sign(&self, kind: Kind, key: &SecretKey, change: impl FnOnce(&mut Statement)) {
        let (path, sha256) = (self.path(kind.file), sha256(&self.path(kind.file)));
        let mut statement =
            Statement::now(kind.role, kind.file, Some(5), Day::new(9999, 12, 31), sha256.clone());
        change(&mut statement);
        sign_file(&path, &sha256, &statement, key).unwrap();
    }

    /// The arguments of a prediction that reads a file of this kind, among others.
    fn arguments(&self, kind: Kind) -> Vec<PathBuf> {
        let (picture, head) = (self.path("data/rows/00.png"), self.path("head.safetensors"));
        let mut all: Vec<PathBuf> = vec!["predict".into(), "--trust".into(), self.path("trust")];
        match kind.role {
            Role::Deploy => all.extend(["--deploy".into(), self.path("deploy.toml"), picture]),
            Role::Board => all.extend(["--board".into(), self.path("board.toml")]),
            Role::Model | Role::Head => {}
        }
        if kind.role != Role::Deploy {
            all.extend([
                self.path("model.safetensors"),
                "--head".into(),
                head,
                self.path("data/rows/00.png"),
            ]);
        }
        all
    }

    fn refused(&self, kind: Kind, problem: &str) {
        let said = fails(&self.arguments(kind));
        assert!(said.contains(problem) && said.contains(kind.file), "{problem}: {said}");
    }

    fn accepted(&self, kind: Kind) {
        json(&succeeds(&self.arguments(kind)));
    }
}

/// As [`failure`].
fn fails(arguments: &[PathBuf]) -> String {
    failure(&arguments.iter().map(|argument| argument as Arg).collect::<Vec<_>>())
}

/// As [`success`].
fn succeeds(arguments: &[PathBuf]) -> String {
    success(&arguments.iter().map(|argument| argument as Arg).collect::<Vec<_>>())
}

/// A kind of file.
#[derive(Clone, Copy)]
struct Kind {
    role: Role,
    file: &'static str,
}

impl Kind {
    const ALL: [Kind; 4] = [
        Kind { role: Role::Model, file: "model.safetensors" },
        Kind { role: Role::Head, file: "head.safetensors" },
        Kind { role: Role::Deploy, file: "deploy.toml" },
        Kind { role: Role::Board, file: "board.toml" },
    ];
}

/// Changes one character of a line of a text, near its end.
fn other(text: &str, line: usize) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut bytes = std::mem::take(&mut lines[line]).into_bytes();
    let at = bytes.len() - 8;
    bytes[at] = if bytes[at] == b'5' { b'6' } else { b'5' };
    lines[line] = String::from_utf8(bytes).unwrap();
    lines.join("\n") + "\n"
}

#[test]
fn every_kind_of_file_is_refused_once_anything_was_changed() {
    let device = Device::new();
    for kind in Kind::ALL {
        device.accepted(kind);
        let path = device.path(kind.file);
        let signature = signature_of(&path);
        let (contents, text) = (fs::read(&path).unwrap(), fs::read_to_string(&signature).unwrap());

        // The file: a bit of it, one byte more, and one less. Text files still mean the same.
        let mut flipped = contents.clone();
        let at = if kind.file.ends_with("toml") { 2 } else { contents.len() - 2 };
        flipped[at] ^= 0x20;
        for changed in [flipped, [&contents[..], b"\n"].concat(), contents[..contents.len() - 1].to_vec()] {
            fs::write(&path, changed).unwrap();
            device.refused(kind, "is not what");
        }
        fs::write(&path, &contents).unwrap();

        // The signature.
        for (changed, problem) in [
            (other(&text, 1), "is not what"),
            (other(&text, 2), "is not what"),
            (other(&text, 3), "is not what"),
            (text[..text.len() / 2].to_owned(), "its signature cannot be read"),
            (String::new(), "its signature cannot be read"),
            (text.clone() + &"x".repeat(20_000), "its signature cannot be read"),
        ] {
            fs::write(&signature, changed).unwrap();
            device.refused(kind, problem);
        }
        fs::write(&signature, [text.as_bytes(), b"\xff"].concat()).unwrap();
        device.refused(kind, "not UTF-8");
        let another = Kind::ALL.into_iter().find(|other| other.role != kind.role).unwrap();
        fs::copy(signature_of(&device.path(another.file)), &signature).unwrap();
        device.refused(kind, "is not what");
        fs::remove_file(&signature).unwrap();
        device.refused(kind, "is not signed");

        // What was signed, and by whom.
        let key = device.signer(kind);
        device.sign(kind, &device.eve, |_| {});
        device.refused(kind, &format!("is signed with key {}, which", device.eve.public().id()));
        let wrong = if kind.role == Role::Head { &device.anna } else { &device.ben };
        device.sign(kind, wrong, |_| {});
        device.refused(kind, &format!("but no {}", kind.role));
        let role = another.role;
        device.sign(kind, key, |statement| statement.role = role);
        device.refused(kind, &format!("is signed as a {role}, and is used as a {}", kind.role));
        device.sign(kind, key, |statement| statement.file = "other".into());
        device.refused(kind, "carries the signature of \"other\"");
        device.sign(kind, key, |statement| statement.expires = Day::new(2020, 1, 1));
        device.refused(kind, "counted until 2020-01-01");
        device.sign(kind, key, |statement| (statement.sha256, statement.serial) = ("0".repeat(64), 6));
        device.refused(kind, "has SHA-256");
        device.sign(kind, key, |statement| statement.serial = 4);
        device.refused(kind, "is version 4, and version 5 was used here before");
        device.sign(kind, key, |statement| statement.serial = 6);
        device.accepted(kind);
        fs::write(&signature, &text).unwrap();
        device.refused(kind, "is version 5, and version 6 was used here before");
        device.sign(kind, key, |statement| statement.serial = 7);
        device.accepted(kind);
    }
}

#[test]
fn the_trust_file_has_the_last_word() {
    let device = Device::new();
    let [model, head, ..] = Kind::ALL;
    for (anna, ben, kind, problem) in [
        ("revoked = true", "", model, "was revoked"),
        ("not_after = 2020-01-01", "", model, "the key of anna, which counted until 2020-01-01"),
        ("", "not_before = 2999-01-01", head, "the key of ben, which counts from 2999-01-01 on"),
        (
            "",
            "[[minimum]]\nrole = \"head\"\nfile = \"head.safetensors\"\nserial = 6",
            head,
            "asks for 6 or later",
        ),
    ] {
        device.trust(anna, ben);
        device.refused(kind, problem);
    }
    device.trust("", "");
    device.accepted(model);
    // A clock that was set back: what was signed once is as good as the time.
    let later = Day::new(2099, 1, 1).unwrap();
    device.sign(head, &device.ben, |statement| (statement.serial, statement.timestamp) = (6, later.start()));
    device.accepted(head);
    device.sign(model, &device.anna, |statement| {
        (statement.serial, statement.expires) = (6, Day::new(2098, 1, 1));
    });
    device.refused(model, "counted until 2098-01-01");
    // The counter.
    let seen = device.path("trust/trust.seen");
    fs::write(&seen, "{}").unwrap();
    let said = fails(&device.arguments(head));
    assert!(said.contains("trust.seen: is no counter"), "{said}");
    fs::remove_file(&seen).unwrap();
    let elsewhere = device.path("elsewhere");
    let with = |counter: &Path| {
        let mut all = device.arguments(head);
        all.extend(["--trust-seen".into(), counter.to_owned()]);
        all
    };
    device.sign(model, &device.anna, |statement| statement.serial = 6);
    succeeds(&with(&elsewhere));
    assert!(elsewhere.exists() && !seen.exists());
    let said = fails(&with(&device.path("none/seen")));
    assert!(
        said.contains("none") && said.contains("the counter against older versions is kept there"),
        "{said}"
    );
    for (trust, problem) in [("", "names no key"), ("[keys.anna]\n", "missing field `roles`")] {
        fs::write(device.path("trust/trust.toml"), trust).unwrap();
        let said = fails(&with(&elsewhere));
        assert!(said.contains("trust.toml: ") && said.contains(problem), "{said}");
    }
}

#[test]
fn nothing_that_is_read_is_unsigned() {
    let device = Device::new();
    let trust = device.path("trust");
    let (head, picture) = (device.path("head.safetensors"), device.path("data/rows/00.png"));
    let predict = |model: Arg| failure(&[&"predict", &"--trust", &trust, model, &"--head", &head, &picture]);
    // A folder is more than one file.
    assert!(predict(&tiny_model()).contains("is a folder, and a signature is of one file"));
    // And so is a checkpoint with its descriptions, whether or not its weights are signed.
    let checkpoint = device.path("checkpoint");
    fs::create_dir(&checkpoint).unwrap();
    for name in ["model.safetensors", "config.json"] {
        fs::copy(tiny_model().join(name), checkpoint.join(name)).unwrap();
    }
    let weights = checkpoint.join("model.safetensors");
    let digest = sha256(&weights);
    let statement = Statement::now(Role::Model, "model.safetensors", Some(9), None, digest.clone());
    sign_file(&weights, &digest, &statement, &device.anna).unwrap();
    let said = predict(&weights);
    assert!(said.contains("no signature covers"), "{said}");
    // A head in ONNX is signed with its description.
    #[cfg(feature = "onnx")]
    {
        use microraptor::Head;
        let (onnx, beside) = (device.path("row.onnx"), device.path("row.json"));
        fs::copy(golden("onnx_heads/row.onnx"), &onnx).unwrap();
        fs::copy(golden("onnx_heads/row.json"), &beside).unwrap();
        let (own, all) = (sha256(&onnx), Head::read(&onnx).unwrap().1);
        sign_file(&onnx, &own, &Statement::now(Role::Head, "row.onnx", None, None, all), &device.ben)
            .unwrap();
        success(&[&"verify", &"--trust", &trust, &onnx]);
        fs::write(&beside, fs::read_to_string(&beside).unwrap() + "\n").unwrap();
        let said = failure(&[&"verify", &"--trust", &trust, &onnx]);
        assert!(said.contains("row.onnx: what was loaded has SHA-256"), "{said}");
        let model = device.path("model.safetensors");
        let said = failure(&[&"predict", &"--trust", &trust, &model, &"--head", &onnx, &picture]);
        assert!(said.contains("row.onnx: what was loaded has SHA-256"), "{said}");
    }
    // The environment asks for signatures as the option does, in every command.
    for arguments in [
        &["predict", "checkpoint/config.json", "--head", "head.safetensors", "data/rows/00.png"][..],
        &["evaluate", "model.safetensors", "--head", "unsigned.safetensors", "--data", "data"],
        &["embed", "unsigned.safetensors", "data/rows/00.png", "-o", "out.npz"],
        &["stream", "model.safetensors", "--head", "unsigned.safetensors", "-"],
        &["train", "unsigned.safetensors", "--data", "data", "-o", "out.safetensors"],
        &["profile", "unsigned.safetensors", "-o", "out"],
        &["board", "--board", "unsigned.toml"],
    ] {
        fs::copy(&head, device.path("unsigned.safetensors")).unwrap();
        fs::write(device.path("unsigned.toml"), "").unwrap();
        let mut command = program();
        command.args(arguments).current_dir(device.folder.path()).env("MICRORAPTOR_TRUST", &trust);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(error_line(&said).contains("is not signed"), "{arguments:?}: {said}");
    }
    let mut command = program();
    let output = command.args(["board"]).env("MICRORAPTOR_TRUST", "").output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("MICRORAPTOR_TRUST is empty"));
    // Boards and weights that are part of the program need none.
    success(&[&"--trust", &trust, &"board", &"--board", &"generic-x86-64"]);
    let folder = device.path("profile");
    success(&quick_profile(&"untrained:deit-tiny", &"32", &[&"--trust", &trust, &"-o", &folder]));
}

/// What is opened again while a stream runs is verified again, also a model that did not change.
#[cfg(target_os = "linux")]
#[test]
fn a_reload_verifies_again() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use rustix::process::{Pid, Signal, kill_process};
    if emulated() {
        return; // The signal would reach the emulator.
    }
    let device = Device::new();
    let mut command = program();
    command.args(["stream", "model.safetensors", "--head", "head.safetensors", "-", "--stdin", "png"]);
    command.current_dir(device.folder.path()).env("MICRORAPTOR_TRUST", device.path("trust"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || json(&lines.next().expect("another line").unwrap());
    assert_eq!(next()["event"], "started");
    let pid = Pid::from_child(&child);
    for (anna, ben, event, problem) in [
        (
            "",
            "revoked = true",
            "reload-failed",
            "head.safetensors: is signed with a key of ben that was revoked",
        ),
        (
            "revoked = true",
            "",
            "reload-failed",
            "model.safetensors: is signed with a key of anna that was revoked",
        ),
        ("", "", "reloaded", ""),
    ] {
        device.trust(anna, ben);
        kill_process(pid, Signal::HUP).unwrap();
        let line = next();
        assert_eq!(line["event"], event, "{line}");
        assert!(line["problem"].as_str().unwrap_or_default().contains(problem), "{line}");
    }
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(next()["event"], "ended");
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn a_key_is_made_once_and_read_by_its_owner() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mode = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let (key, public, password, board) = (at("anna.key"), at("anna.pub"), at("password"), at("board.toml"));
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("boards/generic-x86-64.toml"), &board).unwrap();
    let write = |text: &str| {
        fs::write(&password, text).unwrap();
        mode(&password, 0o600);
    };
    let new: [Arg; 6] = [&"key", &"new", &"-o", &key, &"--password-file", &password];
    for (text, problem) in [
        ("", "is empty"),
        ("\nsecret", "is empty"),
        ("short\n", "shorter than 8"),
        (&"x".repeat(2000), "1024"),
    ] {
        write(text);
        let said = failure(&new);
        assert!(said.contains(problem) && !key.exists(), "{said}");
    }
    write("correct horse\nand nothing else\n");
    let said = success(&new);
    assert!(said.contains("anna.pub: the public key ") && !said.contains("horse"), "{said}");
    let bits = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((bits(&key), bits(&public)), (0o600, 0o644));
    assert_eq!(listing(folder.path()), ["anna.key", "anna.pub", "board.toml", "password"]);
    assert!(failure(&new).contains("is there already"));
    fs::rename(&public, at("moved.pub")).unwrap();
    let text = fs::read_to_string(at("moved.pub")).unwrap();
    assert_eq!(success(&[&"key", &"show", &at("moved.pub")]), text);
    assert_eq!(success(&[&"key", &"show", &key, &"--password-file", &password]), text);
    assert!(
        failure(&[&"key", &"new", &"-o", &public, &"--password-file", &password]).contains("another ending")
    );

    let sign = |more: &[&str]| {
        let mut all: Vec<PathBuf> =
            vec!["sign".into(), "--key".into(), key.clone(), "--password-file".into()];
        all.extend([password.clone(), board.clone()]);
        all.extend(more.iter().map(PathBuf::from));
        all
    };
    let refused = |more: &[&str], problem: &str| {
        let said = fails(&sign(more));
        assert!(said.contains(problem) && !signature_of(&board).exists(), "{problem}: {said}");
    };
    let role = ["--role", "board"];
    refused(&[], "--role");
    refused(&["--role", "plank"], "a role is model, head, deploy or board");
    refused(&["--role", "head"], "board.toml");
    refused(&["--role", "model"], "board.toml");
    refused(&["--role", "board", "--expires", "2020-01-01"], "that day is over");
    refused(&["--role", "board", "--expires", "tomorrow"], "like 2027-12-31");
    for bits in [0o644, 0o640, 0o606] {
        mode(&key, bits);
        refused(&role, &format!("anna.key: others may read or change it (mode {bits:04o})"));
    }
    mode(&key, 0o600);
    mode(&password, 0o644);
    refused(&role, "password: others may read");
    mode(&password, 0o600);
    symlink(&key, at("link.key")).unwrap();
    let link = failure(&[
        &"sign",
        &"--key",
        &at("link.key"),
        &"--password-file",
        &password,
        &board,
        &"--role",
        &"board",
    ]);
    assert!(link.contains("is a link"), "{link}");
    write("wrong horse\n");
    refused(&role, "anna.key: the password is wrong");
    write("correct horse\n");

    let said = succeeds(&sign(&["--role", "board", "--expires", "9998-12-31"]));
    assert!(said.contains("board.toml: board, version ") && said.contains("board.toml.minisig"), "{said}");
    let trust = at("moved.pub");
    let line = json(&success(&[&"verify", &"--trust", &trust, &board, &"--json"]));
    assert_eq!(
        [&line["role"], &line["signer"], &line["expires"], &line["sha256"]],
        ["board", "moved", "9998-12-31", &sha256(&board)]
    );
    assert!(said.contains(line["key"].as_str().unwrap()) && line["serial"] == line["timestamp"], "{line}");
    let said = success(&[&"verify", &"--trust", &trust, &board, &"--role", &"board"]);
    assert!(said.contains("signed by moved (key ") && said.ends_with(", until 9998-12-31\n"), "{said}");
    assert!(
        failure(&[&"verify", &"--trust", &trust, &board, &"--role", &"head"])
            .contains("is signed as a board")
    );
    assert!(failure(&[&"verify", &board]).contains("give --trust KEYS"));
    assert!(failure(&[&"verify", &"--trust", &trust, &at("none")]).contains("none"));
    // Verifying keeps nothing.
    assert!(!at("moved.seen").exists());
    success(&[&"--trust", &trust, &"board", &"--board", &board]);
    assert!(at("moved.seen").exists());
}
