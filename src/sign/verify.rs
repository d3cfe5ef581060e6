//! Verifying a file.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use minisign_verify::{Error, Signature};

use super::date::now;
use super::seen::Seen;
use super::{Day, Key, KeyId, Minimum, Refusal, Role, SignError, Statement, Trust};
use crate::files;

/// Ending of a signature, after the whole name of the file.
const ENDING: &str = ".minisig";

/// Maximum size of a signature, in bytes. minisign writes at most 8 KiB of trusted comment.
const MAX_BYTES: u64 = 16 << 10;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 18;

/// Where the signature of the file `path` lies.
pub fn signature_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ENDING);
    name.into()
}

/// A file with a signature that counts. It may be parsed, and used once [`Trust::accept`] has compared digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The file.
    pub path: PathBuf,
    /// What was signed.
    pub statement: Statement,
    /// Whose key it is, as the trust file says.
    pub signer: String,
    /// The key.
    pub key: KeyId,
}

impl Trust {
    /// Verifies the file `path`, of which the whole is read: that the signature beside it is by a key that may sign `role` (or,
    /// without one, what the signature says that the file is), that neither has expired, and that no newer version was used.
    ///
    /// The time is that of the system's clock, or the latest time of signing that was ever accepted, if that is later.
    ///
    /// # Errors
    /// [`SignError::Refused`] says why the file is refused; the others name the file that cannot be read.
    pub fn verify(&self, path: &Path, role: Option<Role>) -> Result<Verified, SignError> {
        if path.is_dir() {
            return Err(SignError::Refused { path: path.to_owned(), reason: Refusal::Folder });
        }
        let file = files::open(path).map_err(|source| SignError::Read { path: path.to_owned(), source })?;
        self.verify_contents(path, role, file)
    }

    /// [`Trust::verify`] for a file whose contents are in memory.
    ///
    /// # Errors
    /// As [`Trust::verify`].
    pub fn verify_bytes(&self, path: &Path, role: Role, bytes: &[u8]) -> Result<Verified, SignError> {
        self.verify_contents(path, Some(role), bytes)
    }

    fn verify_contents(
        &self,
        path: &Path,
        role: Option<Role>,
        contents: impl Read,
    ) -> Result<Verified, SignError> {
        let refused = |reason| SignError::Refused { path: path.to_owned(), reason };
        let text = self.signature(path)?;
        let (key, comment) = self.signed_by(path, &text, contents)?;
        let statement = Statement::parse(&comment).map_err(|e| refused(Refusal::Statement(e)))?;
        let seen = Seen::read(&self.counter)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name != statement.file {
            return Err(refused(Refusal::Name(statement.file)));
        }
        self.allow(key, &statement, role, now().max(seen.latest)).map_err(refused)?;
        seen.check(&statement).map_err(refused)?;
        Ok(Verified { path: path.to_owned(), statement, signer: key.name.clone(), key: key.public.id() })
    }

    /// Accepts a file that was loaded: `sha256` is the digest of the bytes that were used (see [`Statement::sha256`]). From now
    /// on older versions are refused.
    ///
    /// # Errors
    /// [`Refusal::Exchanged`]; [`SignError::Counter`] if that cannot be kept.
    pub fn accept(&self, verified: &Verified, sha256: &str) -> Result<(), SignError> {
        let Verified { path, statement, signer, .. } = verified;
        if statement.sha256 != sha256 {
            let reason = Refusal::Exchanged { found: sha256.to_owned(), signed: statement.sha256.clone() };
            return Err(SignError::Refused { path: path.clone(), reason });
        }
        Seen::add(&self.counter, path, statement)?;
        let Statement { role, serial, .. } = statement;
        log::info!("{}: {role}, version {serial}, signed by {signer}", path.display());
        Ok(())
    }

    /// The text of the signature beside `path`.
    fn signature(&self, path: &Path) -> Result<String, SignError> {
        let signature = signature_of(path);
        let refused = |reason| SignError::Refused { path: path.to_owned(), reason };
        files::text(&signature, MAX_BYTES).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                refused(Refusal::Unsigned { signature: signature.clone(), trust: self.path.clone() })
            }
            io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => {
                refused(Refusal::Malformed(error.to_string()))
            }
            _ => SignError::Read { path: signature.clone(), source: error },
        })
    }

    /// The key that signed `contents`, and the trusted comment.
    fn signed_by(
        &self,
        path: &Path,
        text: &str,
        mut contents: impl Read,
    ) -> Result<(&Key, String), SignError> {
        let refused = |reason| SignError::Refused { path: path.to_owned(), reason };
        let signature = Signature::decode(text).map_err(|e| refused(Refusal::Malformed(e.to_string())))?;
        let Some(id) = text.lines().nth(1).and_then(KeyId::of_line) else {
            return Err(refused(Refusal::Malformed("it names no key".into())));
        };
        let Some(key) = self.keys.iter().find(|key| key.public.id() == id) else {
            return Err(refused(Refusal::Foreign { id, trust: self.path.clone() }));
        };
        if key.revoked {
            return Err(refused(Refusal::Revoked(key.name.clone())));
        }
        let mut verifier = key.public.key.verify_stream(&signature).map_err(|error| {
            refused(Refusal::Malformed(match error {
                Error::UnsupportedLegacyMode => {
                    "it is of the old kind, over the whole file and not its digest".into()
                }
                error => error.to_string(),
            }))
        })?;
        let mut chunk = vec![0; CHUNK];
        loop {
            match contents.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => verifier.update(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(SignError::Read { path: path.to_owned(), source }),
            }
        }
        verifier.finalize().map_err(|_| refused(Refusal::Changed(key.name.clone())))?;
        Ok((key, signature.trusted_comment().to_owned()))
    }

    /// Whether `key` may sign this, at the time `now` in seconds since 1970.
    fn allow(&self, key: &Key, statement: &Statement, role: Option<Role>, now: u64) -> Result<(), Refusal> {
        let Statement { role: signed, timestamp, expires, serial, .. } = *statement;
        let now = now.max(timestamp);
        let signer = || key.name.clone();
        if let Some(used) = role.filter(|&used| used != signed) {
            return Err(Refusal::Role { signed, used });
        }
        if !key.roles.contains(&signed) {
            return Err(Refusal::NotAllowed { signer: signer(), may: key.roles.clone(), role: signed });
        }
        if let Some(from) = key.not_before.filter(|from| timestamp < from.start()) {
            return Err(Refusal::KeyTooEarly { signer: signer(), from });
        }
        let over = |day: &Day| now > day.end();
        if let Some(until) = key.not_after.filter(over) {
            return Err(Refusal::KeyExpired { signer: signer(), until });
        }
        if let Some(until) = expires.filter(over) {
            return Err(Refusal::Expired(until));
        }
        let of_file = |minimum: &&Minimum| minimum.role == signed && minimum.file == statement.file;
        for &Minimum { serial: minimum, .. } in self.minimum.iter().filter(of_file) {
            if serial < minimum {
                return Err(Refusal::TooOld { serial, minimum, trust: self.path.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    /// A signature of minisign's author over the text `test`, which other implementations test themselves with.
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1556193335\tfile:test\n\
        y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==\n";

    fn trust(folder: &Path, more: &str) -> Trust {
        Trust::parse(folder, &format!("[keys.frank]\npublic = \"{KEY}\"\nroles = [\"head\"]\n{more}"))
            .unwrap()
    }

    #[test]
    fn what_minisign_signed_verifies_and_still_is_no_statement() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test");
        std::fs::write(&path, "test").unwrap();
        let said = |trust: &Trust| trust.verify(&path, Some(Role::Head)).unwrap_err().to_string();
        let plain = trust(folder.path(), "");
        assert!(
            said(&plain).contains("is not signed: there is no ") && said(&plain).contains("test.minisig")
        );
        let write = |text: &[u8]| std::fs::write(signature_of(&path), text).unwrap();
        write(SIGNATURE.as_bytes());
        // The signature is good, so what is refused is the comment.
        assert!(said(&plain).contains("trusted comment"), "{}", said(&plain));
        assert!(said(&trust(folder.path(), "revoked = true")).contains("revoked"));
        for (text, problem) in [
            (SIGNATURE.replace("timestamp:155", "timestamp:156"), "is not what frank signed"),
            (SIGNATURE.replace("y/rU", "y/rV"), "is not what frank signed"),
            (SIGNATURE.replace("RUQf6LRCGA9i559", "RUQf6LRCGA9i558"), "is not what frank signed"),
            (SIGNATURE.replace("RUQf6LRC", "RUQf6LRD"), "is signed with key"),
            (SIGNATURE.replace("RUQf", "RWQf"), "of the old kind"),
            (SIGNATURE.replace("RUQf", "RVQf"), "cannot be read"),
            (SIGNATURE[..180].to_owned(), "cannot be read"),
            (String::new(), "cannot be read"),
            (SIGNATURE.replace("untrusted", &"u".repeat(17000)), "more than the 16 KiB"),
        ] {
            write(text.as_bytes());
            assert!(said(&plain).contains(problem), "{problem}: {}", said(&plain));
        }
        write(b"\xff\xfe");
        assert!(said(&plain).contains("not UTF-8"));
        write(SIGNATURE.as_bytes());
        std::fs::write(&path, "Test").unwrap();
        assert!(said(&plain).contains("is not what frank signed"));
        let folder = trust(folder.path(), "").verify(folder.path(), None).unwrap_err().to_string();
        assert!(folder.contains("is a folder"), "{folder}");
    }

    #[test]
    fn a_key_signs_what_it_may_while_it_may() {
        let folder = tempfile::tempdir().unwrap();
        let day = |text: &str| text.parse::<Day>().unwrap();
        let statement = |role, signed: &str, expires: Option<&str>| Statement {
            role,
            file: "f".into(),
            serial: 5,
            timestamp: day(signed).start(),
            expires: expires.map(day),
            sha256: String::new(),
        };
        let days = "not_before = 2026-06-01\nnot_after = 2028-12-31\n";
        let minimum = |serial| format!("[[minimum]]\nrole = \"head\"\nfile = \"f\"\nserial = {serial}\n");
        let head = |signed, expires| statement(Role::Head, signed, expires);
        let said = |more: &str, statement: &Statement, role, now: u64| {
            let trust = trust(folder.path(), more);
            trust.allow(&trust.keys[0], statement, role, now).map_err(|e| e.to_string())
        };
        let (good, start) = (head("2027-01-01", Some("2027-06-30")), |text| day(text).start());
        for now in [0, start("2027-01-01"), day("2027-06-30").end()] {
            assert_eq!(said(&(days.to_owned() + &minimum(5)), &good, Some(Role::Head), now), Ok(()));
        }
        assert_eq!(said("", &good, None, 0), Ok(()));
        for (more, statement, role, now, problem) in [
            (days, good.clone(), Role::Head, day("2027-06-30").end() + 1, "counted until 2027-06-30"),
            (
                days,
                head("2027-01-01", None),
                Role::Head,
                start("2029-01-01"),
                "frank, which counted until 2028-12-31",
            ),
            (days, head("2026-05-31", None), Role::Head, start("2027-01-01"), "counts from 2026-06-01 on"),
            // The time of signing is as good as a clock.
            (days, head("2029-01-01", None), Role::Head, 0, "frank, which counted until 2028-12-31"),
            ("", head("2027-07-01", Some("2027-06-30")), Role::Head, 0, "counted until 2027-06-30"),
            ("", good.clone(), Role::Model, 0, "is signed as a head, and is used as a model"),
            ("", statement(Role::Model, "2027-01-01", None), Role::Model, 0, "may sign head, but no model"),
            (&minimum(6), good.clone(), Role::Head, 0, "asks for 6 or later"),
        ] {
            let said = said(more, &statement, Some(role), now).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
    }
}
