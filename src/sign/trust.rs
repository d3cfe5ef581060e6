//! Whom to trust, for what, and until when.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::value::{Date, Datetime};

use super::{Day, PublicKey, Role, SignError};
use crate::files;

/// Name of the trust file in a folder.
const FILE: &str = "trust.toml";

/// Extension of the counter's file beside a trust file.
const COUNTER: &str = "seen";

/// Maximum size of a trust file, in bytes: a key takes some 200.
const MAX_BYTES: u64 = 256 << 10;

/// A key, and what it may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Whose it is, as the trust file says.
    pub name: String,
    /// The key.
    pub public: PublicKey,
    /// What it may sign.
    pub roles: Vec<Role>,
    /// Its first day; signatures from before do not count.
    pub not_before: Option<Day>,
    /// Its last day.
    pub not_after: Option<Day>,
    /// Whether nothing that it signed counts any more.
    pub revoked: bool,
}

/// The lowest number that is accepted of a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minimum {
    /// What the file is for.
    pub role: Role,
    /// Its name.
    pub file: String,
    /// The lowest number.
    pub serial: u64,
}

/// Whom to trust. It is read from a trust file, `trust.toml` in a folder of that name, or from one `.pub` file, whose key
/// then may sign everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    pub(super) path: PathBuf,
    pub(super) counter: PathBuf,
    pub(super) keys: Vec<Key>,
    pub(super) minimum: Vec<Minimum>,
}

/// The trust file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    #[serde(default)]
    keys: BTreeMap<String, KeyEntry>,
    #[serde(default)]
    minimum: Vec<Minimum>,
}

/// A key of the trust file: `public` is the key, or `file` names its `.pub` file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    public: Option<String>,
    file: Option<PathBuf>,
    roles: Vec<Role>,
    not_before: Option<Datetime>,
    not_after: Option<Datetime>,
    #[serde(default)]
    revoked: bool,
}

impl Trust {
    /// Reads `path`: a trust file, a folder with `trust.toml`, or a `.pub` file. The counter against older versions is kept in
    /// the file `counter`, or else beside the trust file, with the extension `seen`.
    ///
    /// # Errors
    /// [`SignError`] names the file: if it cannot be read, makes no sense, names no key, or may be changed by every user of
    /// the machine.
    pub fn open(path: &Path, counter: Option<&Path>) -> Result<Trust, SignError> {
        let path = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
        only_its_owner_writes(&path)?;
        let (keys, minimum) = if path.extension().is_some_and(|e| e == "pub") {
            (vec![Key::for_everything(&path)?], Vec::new())
        } else {
            let text = files::text(&path, MAX_BYTES)
                .map_err(|source| SignError::Read { path: path.clone(), source })?;
            let folder = path.parent().unwrap_or(Path::new(""));
            parse(&path, folder, &text)?
        };
        let counter = counter.map_or_else(|| path.with_extension(COUNTER), Path::to_owned);
        Ok(Trust { path, counter, keys, minimum })
    }

    /// Parses the text of a trust file in `folder`, in which the `.pub` files that it names lie.
    ///
    /// # Errors
    /// As [`Trust::open`].
    pub fn parse(folder: &Path, text: &str) -> Result<Trust, SignError> {
        let path = folder.join(FILE);
        let (keys, minimum) = parse(&path, folder, text)?;
        Ok(Trust { counter: path.with_extension(COUNTER), path, keys, minimum })
    }

    /// The trust file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the counter against older versions.
    pub fn counter(&self) -> &Path {
        &self.counter
    }

    /// The keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}

fn parse(path: &Path, folder: &Path, text: &str) -> Result<(Vec<Key>, Vec<Minimum>), SignError> {
    let wrong = |problem: String| SignError::Wrong { path: path.to_owned(), problem };
    let file: TrustFile = toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        wrong(format!("line {line}: {}", e.message().replace('\n', " ")))
    })?;
    let mut keys: Vec<Key> = Vec::new();
    for (name, entry) in file.keys {
        let key = entry.key(&name, folder).map_err(|problem| match problem {
            Problem::Here(problem) => wrong(format!("keys.{name}: {problem}")),
            Problem::There(error) => error,
        })?;
        if let Some(same) = keys.iter().find(|other| other.public.id() == key.public.id()) {
            return Err(wrong(format!(
                "keys.{name} and keys.{} are the same key: name each once",
                same.name
            )));
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err(wrong(
            "names no key, so nothing could be used: add [keys.NAME] with public and roles".into(),
        ));
    }
    Ok((keys, file.minimum))
}

/// What is wrong with a key: in the trust file, or in the file that it names.
enum Problem {
    Here(String),
    There(SignError),
}

impl KeyEntry {
    fn key(self, name: &str, folder: &Path) -> Result<Key, Problem> {
        let public = match (self.public, self.file) {
            (Some(line), None) => {
                PublicKey::parse(&line).map_err(|problem| Problem::Here(format!("public {problem}")))?
            }
            (None, Some(file)) => {
                let file = folder.join(file);
                only_its_owner_writes(&file).and_then(|()| PublicKey::read(&file)).map_err(Problem::There)?
            }
            _ => return Err(Problem::Here("give either public, a key, or file, its .pub file".into())),
        };
        let day = |given: Option<Datetime>, what: &str| match given {
            None => Ok(None),
            Some(Datetime { date: Some(Date { year, month, day }), time: None, offset: None }) => {
                let day = Day::new(year.into(), month.into(), day.into());
                day.map(Some).ok_or_else(|| Problem::Here(format!("{what} is before 1970")))
            }
            Some(_) => Err(Problem::Here(format!("{what} is a day, without a time: like 2027-12-31"))),
        };
        let not_before = day(self.not_before, "not_before")?;
        let not_after = day(self.not_after, "not_after")?;
        Ok(Key {
            name: name.to_owned(),
            public,
            roles: self.roles,
            not_before,
            not_after,
            revoked: self.revoked,
        })
    }
}

impl Key {
    /// The key of a `.pub` file, called by the file's name, for every role.
    fn for_everything(path: &Path) -> Result<Key, SignError> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let public = PublicKey::read(path)?;
        Ok(Key { name, public, roles: Role::ALL.to_vec(), not_before: None, not_after: None, revoked: false })
    }
}

/// Refuses a file that every user of the machine may change, or exchange in its folder.
#[cfg(unix)]
fn only_its_owner_writes(path: &Path) -> Result<(), SignError> {
    use std::os::unix::fs::MetadataExt;
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let read = |path: &Path, source| SignError::Read { path: path.to_owned(), source };
    let file = std::fs::metadata(path).map_err(|source| read(path, source))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let around = std::fs::metadata(folder).map_err(|source| read(folder, source))?;
    let wrong = |path: &Path| SignError::Wrong {
        path: path.to_owned(),
        problem: "every user may write here, and so decide who is trusted: chmod o-w".into(),
    };
    if file.mode() & OTHERS_WRITE != 0 {
        return Err(wrong(path));
    }
    if around.mode() & OTHERS_WRITE != 0 && around.mode() & STICKY == 0 {
        return Err(wrong(folder));
    }
    Ok(())
}

#[cfg(not(unix))]
fn only_its_owner_writes(_: &Path) -> Result<(), SignError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of minisign's author.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn is_read_with_roles_and_days() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "[keys.anna]\npublic = \"{KEY}\"\nroles = [\"model\", \"deploy\"]\nnot_before = 2026-01-02\n\
             not_after = 2028-12-31\n[[minimum]]\nrole = \"head\"\nfile = \"liver.safetensors\"\nserial = 3\n"
        );
        let trust = Trust::parse(folder.path(), &text).unwrap();
        let [key] = trust.keys() else { panic!("{trust:?}") };
        assert_eq!((key.name.as_str(), &key.roles[..]), ("anna", &[Role::Model, Role::Deploy][..]));
        assert_eq!(key.public.id().to_string(), "E7620F1842B4E81F");
        assert_eq!(key.not_before.unwrap().to_string(), "2026-01-02");
        assert_eq!(key.not_after.unwrap().to_string(), "2028-12-31");
        assert_eq!(trust.minimum[0].serial, 3);
        let twice = format!("{text}[keys.ben]\npublic = \"{KEY}\"\nroles = []\n");
        for (wrong, problem) in [
            (text.replace("2028-12-31", "2028-12-31T10:00:00Z"), "without a time"),
            (text.replace("2026-01-02", "1926-01-02"), "before 1970"),
            (text.replace("not_after", "until"), "line 5: unknown field `until`"),
            (text.replace("\"model\"", "\"models\""), "unknown variant"),
            (text.replace(KEY, &KEY[..54]), "no public key"),
            (text.replace(KEY, &KEY.replace("RW", "XX")), "no public key"),
            (text.replace("public =", "file = \"a.pub\"\npublic ="), "either public"),
            (text.replace("roles = [\"model\", \"deploy\"]", ""), "missing field `roles`"),
            (twice, "keys.ben and keys.anna are the same key"),
            (String::new(), "names no key"),
            ("\u{0}".into(), "line 1"),
        ] {
            let error = Trust::parse(folder.path(), &wrong).unwrap_err().to_string();
            assert!(
                error.contains(problem) && error.contains("trust.toml: ") && !error.contains('\n'),
                "{error}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_everyone_may_change_is_refused() {
        use std::fs::{Permissions, set_permissions, write};
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("anna.pub");
        write(&key, format!("untrusted comment: of Anna\n{KEY}\n")).unwrap();
        let trust = Trust::open(&key, None).unwrap();
        assert_eq!(trust.counter(), folder.path().join("anna.seen"));
        assert_eq!((trust.keys()[0].roles.len(), trust.keys()[0].name.as_str()), (4, "anna"));
        write(folder.path().join(FILE), "[keys.anna]\nfile = \"anna.pub\"\nroles = [\"head\"]\n").unwrap();
        assert_eq!(Trust::open(folder.path(), Some(Path::new("/a/b"))).unwrap().counter(), Path::new("/a/b"));
        set_permissions(&key, Permissions::from_mode(0o646)).unwrap();
        for path in [folder.path(), &key] {
            let error = Trust::open(path, None).unwrap_err().to_string();
            assert!(error.contains("anna.pub: every user may write here"), "{error}");
        }
        set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(Trust::open(folder.path(), None).unwrap_err().to_string().contains("chmod o-w"));
    }
}
