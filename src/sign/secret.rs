//! Private keys: making, reading, and signing with them.
//!
//! The file is minisign's: scrypt makes a pad of a password, and the key is stored under it. The parameters are ours, since
//! those of the crate (32 MiB) are lower, and those of the program minisign (1 GiB) are more than many a small machine has.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign::{KeyPair, SecretKeyBox};
use sha2::{Digest, Sha256};

use super::{PublicKey, SignError, Statement, signature_of};
use crate::files::{self, write_atomically};
use crate::sealed::hex;

/// Shortest password of a new key, in characters.
pub const MIN_PASSWORD: usize = 8;

/// Maximum size of a private key's file, in bytes; it has two short lines.
const MAX_BYTES: u64 = 4 << 10;

/// scrypt's parameters: N = 2^17, r = 8 and p = 1 (128 MiB, 0.3 s), the first that OWASP's Password Storage Cheat Sheet
/// names. The two limits are what libsodium, and so minisign, computes these from.
const LOG_N: u8 = 17;
const MEMORY_LIMIT: u64 = 128 << 20;
const WORK_LIMIT: u64 = 4 << 20;

/// Where the parts of a private key lie: algorithm, key derivation, checksum (2 bytes each), salt, two limits, the key.
const DERIVATION: std::ops::Range<usize> = 2..4;
const SALT: std::ops::Range<usize> = 6..38;
const WORK: std::ops::Range<usize> = 38..46;
const MEMORY: std::ops::Range<usize> = 46..54;
const KEY: std::ops::Range<usize> = 54..158;

/// A private key, decrypted. It is printed nowhere.
pub struct SecretKey {
    key: minisign::SecretKey,
    public: PublicKey,
}

impl SecretKey {
    /// Makes a key, and its file's text, encrypted with `password`.
    ///
    /// # Errors
    /// What is wrong with the password, or that the system has no random numbers.
    pub fn generate(password: &str) -> Result<(SecretKey, String), String> {
        if password.chars().count() < MIN_PASSWORD {
            return Err(format!(
                "the password is shorter than {MIN_PASSWORD} characters: choose a longer one"
            ));
        }
        let failed = |e: minisign::PError| format!("no key can be made: {e}");
        let key = KeyPair::generate_unencrypted_keypair().map_err(failed)?.sk;
        let mut bytes = key.to_bytes();
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|e| format!("the system has no random numbers: {e}"))?;
        bytes[DERIVATION].copy_from_slice(b"Sc");
        bytes[SALT].copy_from_slice(&salt);
        bytes[WORK].copy_from_slice(&WORK_LIMIT.to_le_bytes());
        bytes[MEMORY].copy_from_slice(&MEMORY_LIMIT.to_le_bytes());
        let mut pad = [0; KEY.end - KEY.start];
        let parameters =
            scrypt::Params::new(LOG_N, 8, 1, scrypt::Params::RECOMMENDED_LEN).expect("they are valid");
        scrypt::scrypt(password.as_bytes(), &salt, &parameters, &mut pad).expect("the length is valid");
        bytes[KEY].iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
        let text =
            format!("untrusted comment: microraptor encrypted secret key\n{}\n", STANDARD.encode(&bytes));
        Ok((SecretKey::of(key)?, text))
    }

    /// Decrypts the text of a key's file, of [`SecretKey::generate`] or of `minisign -G`.
    ///
    /// # Errors
    /// What is wrong with it, or that the password is.
    pub fn decrypt(text: &str, password: &str) -> Result<SecretKey, String> {
        let key = SecretKeyBox::from_string(text)
            .and_then(|key| key.into_secret_key(Some(password.to_owned())))
            .map_err(|e| match e.to_string() {
                said if said.contains("Wrong password") => "the password is wrong".to_owned(),
                said if said.contains("not encrypted") => {
                    "is not encrypted: make a key with a password (minisign -C sets one)".to_owned()
                }
                said => format!("is no private key that can be used ({said})"),
            })?;
        SecretKey::of(key)
    }

    fn of(key: minisign::SecretKey) -> Result<SecretKey, String> {
        let public = minisign::PublicKey::from_secret_key(&key).map_err(|e| e.to_string())?;
        Ok(SecretKey { key, public: PublicKey::parse(&public.to_base64())? })
    }

    /// Its public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

/// The text of a private key's file, which nobody but its owner, this user, may read.
///
/// # Errors
/// [`SignError`] says who else may read it, that it is a link, or why it cannot be read.
pub fn read_private(path: &Path) -> Result<String, SignError> {
    let read = |source| SignError::Read { path: path.to_owned(), source };
    let file = open_private(path)?;
    files::check_length(file.metadata().map_err(read)?.len(), MAX_BYTES).map_err(read)?;
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(read)?;
    Ok(text)
}

#[cfg(unix)]
fn open_private(path: &Path) -> Result<File, SignError> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    const OTHERS: u32 = 0o077;
    let wrong = |problem: String| SignError::Wrong { path: path.to_owned(), problem };
    let read = |source| SignError::Read { path: path.to_owned(), source };
    if std::fs::symlink_metadata(path).map_err(read)?.is_symlink() {
        return Err(wrong("is a link: name the file itself".into()));
    }
    // The name may have become a link, or a pipe, since.
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(read)?;
    let found = file.metadata().map_err(read)?;
    if !found.is_file() {
        return Err(wrong("is not a regular file".into()));
    }
    if found.mode() & OTHERS != 0 {
        let mode = found.mode() & 0o777;
        return Err(wrong(format!(
            "others may read or change it (mode {mode:04o}): chmod 600, and think about who has read it"
        )));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(wrong("belongs to another user: use a file of your own".into()));
    }
    Ok(file)
}

#[cfg(not(unix))]
fn open_private(path: &Path) -> Result<File, SignError> {
    files::open(path).map_err(|source| SignError::Read { path: path.to_owned(), source })
}

/// Signs the file `path`, whose own bytes have the SHA-256 `own` (that of `statement` may cover more files): the signature
/// is written beside it, in place of an older one.
///
/// # Errors
/// [`SignError`] names the file, if it cannot be read, has other contents, or the signature cannot be written.
pub fn sign_file(path: &Path, own: &str, statement: &Statement, key: &SecretKey) -> Result<(), SignError> {
    let wrong = |problem: String| SignError::Wrong { path: path.to_owned(), problem };
    statement.check().map_err(wrong)?;
    let file = files::open(path).map_err(|source| SignError::Read { path: path.to_owned(), source })?;
    let mut digested = Digested { file, digest: Sha256::new() };
    let by = format!("signature of microraptor, key {}", key.public.id());
    let signature = minisign::sign(None, &key.key, &mut digested, Some(&statement.line()), Some(&by))
        .map_err(|e| wrong(format!("cannot be signed: {e}")))?;
    let found = hex(&digested.digest.finalize());
    if found != own {
        return Err(wrong("changed while it was signed: sign it again".into()));
    }
    Ok(write_atomically(&signature_of(path), |file| file.write_all(signature.to_string().as_bytes()))?)
}

/// Reads a file and digests what was read.
struct Digested {
    file: File,
    digest: Sha256,
}

impl Read for Digested {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(into)?;
        self.digest.update(&into[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::{Day, Role, Trust};

    #[test]
    fn a_key_signs_what_its_public_half_verifies() {
        assert!(SecretKey::generate("short").is_err() && SecretKey::generate("").is_err());
        let (made, text) = SecretKey::generate("a long password").unwrap();
        assert!(SecretKey::decrypt(&text, "a wrong password").err().unwrap().contains("password is wrong"));
        for damaged in ["", "a\nb", &text[..100], &text.replace('\n', "")] {
            assert!(SecretKey::decrypt(damaged, "a long password").is_err(), "{damaged}");
        }
        let key = SecretKey::decrypt(&text, "a long password").unwrap();
        assert_eq!(key.public(), made.public());

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head.safetensors");
        std::fs::write(&path, "a head").unwrap();
        let sha256 = crate::sealed::sha256(b"a head");
        let statement = Statement {
            role: Role::Head,
            file: "head.safetensors".into(),
            serial: 1,
            timestamp: 1_800_000_000,
            expires: Day::new(9999, 12, 31),
            sha256: sha256.clone(),
        };
        assert!(
            sign_file(&path, &"0".repeat(64), &statement, &key)
                .unwrap_err()
                .to_string()
                .contains("changed while")
        );
        assert!(!signature_of(&path).exists());
        sign_file(&path, &sha256, &statement, &key).unwrap();
        let text = format!("[keys.anna]\npublic = \"{}\"\nroles = [\"head\"]\n", key.public().line());
        let trust = Trust::parse(folder.path(), &text).unwrap();
        let verified = trust.verify(&path, Some(Role::Head)).unwrap();
        assert_eq!((&verified.statement, verified.signer.as_str()), (&statement, "anna"));
        assert!(trust.accept(&verified, &"0".repeat(64)).unwrap_err().to_string().contains("exchanged"));
        assert!(!trust.counter().exists());
        trust.accept(&verified, &sha256).unwrap();
        // Older, and other contents of the same number.
        sign_file(&path, &sha256, &Statement { serial: 0, ..statement.clone() }, &key).unwrap();
        assert!(trust.verify(&path, None).unwrap_err().to_string().contains("version 1 was used"));
        sign_file(&path, &sha256, &statement, &key).unwrap();
        std::fs::rename(&path, folder.path().join("other")).unwrap();
        std::fs::rename(signature_of(&path), folder.path().join("other.minisig")).unwrap();
        let said = trust.verify(&folder.path().join("other"), None).unwrap_err().to_string();
        assert!(said.contains("carries the signature of \"head.safetensors\""), "{said}");
    }

    #[cfg(unix)]
    #[test]
    fn a_private_key_is_read_from_its_owners_file_alone() {
        use std::fs::{Permissions, set_permissions};
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("anna.key");
        std::fs::write(&path, "key").unwrap();
        let said = |path: &Path| read_private(path).unwrap_err().to_string();
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(said(&path).contains(&format!("mode {mode:04o}): chmod 600")), "{}", said(&path));
        }
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_private(&path).unwrap(), "key");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(said(&link).contains("is a link"));
        assert!(said(folder.path()).contains("not a regular file"));
        assert!(said(Path::new("/dev/null")).contains("not a regular file"));
        std::fs::write(&path, [b'x'; 5000]).unwrap();
        assert!(said(&path).contains("4 KiB"));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(said(&path).contains("UTF-8"));
    }
}
