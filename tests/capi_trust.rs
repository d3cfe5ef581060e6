//! The library for C with signatures: `mr_trust` has no way back, so this is a process of its own.
#![cfg(all(feature = "capi", feature = "demo", feature = "sign"))]

#[allow(dead_code, reason = "the other test of the library for C drives calls with it")]
#[path = "capi/driver.rs"]
mod driver;

use std::ffi::{CStr, CString};
use std::fs;
use std::path::Path;
use std::ptr::{null, null_mut};

use microraptor::ffi::*;
use microraptor::sign::{Role, SecretKey, Statement, sign_file, signature_of};
use sha2::{Digest, Sha256};

fn text(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

fn sign(path: &Path, role: Role, serial: u64, key: &SecretKey) {
    let digest = Sha256::digest(fs::read(path).unwrap());
    let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = path.file_name().unwrap().to_str().unwrap();
    sign_file(path, &sha256, &Statement::now(role, name, Some(serial), None, sha256.clone()), key).unwrap();
}

#[test]
fn after_mr_trust_only_what_is_signed_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (model, head) = (at("model.safetensors"), at("head.safetensors"));
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/demo.safetensors"), &model).unwrap();
    let file = driver::head_file();
    fs::write(&head, &file).unwrap();
    let (key, _) = SecretKey::generate("correct horse").unwrap();
    let line = key.public().line();
    fs::write(at("trust.toml"), format!("[keys.anna]\npublic = \"{line}\"\nroles = [\"model\", \"head\"]\n"))
        .unwrap();

    // SAFETY: texts that end with a zero byte, and places for handles.
    let open_model = |path: &Path| unsafe {
        let mut model = null_mut();
        let status = mr_model_open(text(path).as_ptr(), null(), &raw mut model);
        mr_model_close(model);
        status
    };
    // SAFETY: as above.
    let open_head = |path: &Path| unsafe {
        let mut head = null_mut();
        let status = mr_head_open(text(path).as_ptr(), &raw mut head);
        mr_head_close(head);
        status
    };
    // SAFETY: as above.
    let trust = |path: &Path| unsafe { mr_trust(text(path).as_ptr(), null()) };
    // SAFETY: a text of this thread, which makes no other call before it is copied.
    let said = || unsafe { CStr::from_ptr(mr_message(null())) }.to_str().unwrap().to_owned();

    assert_eq!((open_model(&model), open_head(&head)), (Status::Ok, Status::Ok));
    // SAFETY: NULL is refused.
    assert_eq!(unsafe { mr_trust(null(), null()) }, Status::Argument);
    assert_eq!(trust(&at("none")), Status::Model);
    assert_eq!(open_model(&model), Status::Ok, "a trust file that cannot be read changes nothing");
    assert_eq!(trust(folder.path()), Status::Ok, "{}", said());
    assert_eq!(open_model(&model), Status::Model);
    assert!(said().contains("model.safetensors: is not signed"), "{}", said());
    sign(&model, Role::Model, 1, &key);
    sign(&head, Role::Head, 2, &key);
    assert_eq!((open_model(&model), open_head(&head)), (Status::Ok, Status::Ok), "{}", said());
    assert_eq!(open_model(Path::new("demo")), Status::Ok, "a part of the library");
    assert_eq!(open_head(&model), Status::Model);
    assert!(said().contains("is signed as a model, and is used as a head"), "{}", said());
    let mut place = null_mut();
    // SAFETY: the bytes are there, and so is the place.
    let status = unsafe { mr_head_open_memory(file.as_ptr().cast(), file.len(), &raw mut place) };
    assert_eq!(status, Status::Model);
    assert!(said().contains("open the file"), "{}", said());
    sign(&head, Role::Head, 1, &key);
    assert_eq!(open_head(&head), Status::Model);
    assert!(said().contains("version 2 was used here before"), "{}", said());
    fs::remove_file(signature_of(&head)).unwrap();
    assert_eq!(open_head(&head), Status::Model);
}
