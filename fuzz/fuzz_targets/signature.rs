//! A signature beside a file, a trust file, a public key, and a trusted comment.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use microraptor::sign::{PublicKey, Role, Statement, Trust, signature_of};
use microraptor_fuzz::on_file;

/// The key of minisign's author.
const KEY: &str = "[keys.frank]\npublic = \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"\nroles = [\"head\"]\n";

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Ok(statement) = Statement::parse(&text) {
        assert_eq!(Statement::parse(&statement.line()), Ok(statement));
    }
    let _ = PublicKey::parse(&text);
    let _ = Trust::parse(Path::new("."), &text);
    let trust = Trust::parse(Path::new("."), KEY).expect("a trust file");
    on_file("test.minisig", data, 1 << 20, |path| {
        let file = path.with_extension("");
        assert_eq!(signature_of(&file), path);
        std::fs::write(&file, "test").expect("a temporary folder");
        // Nobody has the key, and its owner signed no statement.
        match trust.verify(&file, Some(Role::Head)) {
            Ok(verified) => panic!("{verified:?}"),
            Err(error) => Err::<(), _>(error),
        }
    });
});
