//! What a signature says of a file: the trusted comment.

use serde::Serialize;

use super::date::now;
use super::{Day, Role};

/// Version of the layout. A program that does not know a version, or a field, refuses it: a field may be a restriction.
const VERSION: &str = "1";

/// Longest name of a file, in bytes, as on every file system.
const MAX_NAME: usize = 255;

/// What a signature says of a file. As text it is a line of fields with tabs between them, like minisign's own:
/// `microraptor:1`, `role:`, `file:`, `serial:`, `timestamp:`, `expires:` (optional) and `sha256:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// What the file is for.
    pub role: Role,
    /// The file's name, without folders.
    pub file: String,
    /// Its number among the versions of this file: a later one has a higher number.
    pub serial: u64,
    /// When it was signed, in seconds since 1970, by the clock of whoever signed.
    pub timestamp: u64,
    /// The last day, UTC, on which the signature counts.
    pub expires: Option<Day>,
    /// SHA-256 in lower-case hex of the file; for a head in ONNX, of the file, the weight files that it names and the
    /// description beside it, one after the other.
    pub sha256: String,
}

impl Statement {
    /// A statement of this moment, whose number is the time if none is given: it counts up by itself.
    pub fn now(
        role: Role,
        file: &str,
        serial: Option<u64>,
        expires: Option<Day>,
        sha256: String,
    ) -> Statement {
        let timestamp = now();
        Statement {
            role,
            file: file.to_owned(),
            serial: serial.unwrap_or(timestamp),
            timestamp,
            expires,
            sha256,
        }
    }

    /// The line. It has no character that ends a line or a field, if [`Statement::check`] is content.
    pub fn line(&self) -> String {
        let Statement { role, file, serial, timestamp, expires, sha256 } = self;
        let expires = expires.map(|day| format!("\texpires:{day}")).unwrap_or_default();
        format!(
            "microraptor:{VERSION}\trole:{role}\tfile:{file}\tserial:{serial}\ttimestamp:{timestamp}{expires}\tsha256:{sha256}"
        )
    }

    /// Parses a line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Statement, String> {
        let mut found = Fields::default();
        for field in line.split('\t') {
            // minisign's word for a signature over a digest.
            if field == "hashed" || field == "prehashed" {
                continue;
            }
            let (name, value) = field.split_once(':').ok_or("a field has no colon")?;
            let place = found
                .place(name)
                .ok_or_else(|| format!("it has a field {name:?} that this version does not know"))?;
            if place.replace(value.to_owned()).is_some() {
                return Err(format!("it has the field {name} twice"));
            }
        }
        let taken =
            |place: Option<String>, name: &str| place.ok_or_else(|| format!("the field {name} is missing"));
        let number = |text: String, name: &str| {
            whole(&text).ok_or_else(|| format!("the field {name} is no whole number"))
        };
        if taken(found.microraptor, "microraptor")? != VERSION {
            return Err("it is of another version of microraptor".into());
        }
        let statement = Statement {
            role: taken(found.role, "role")?.parse()?,
            file: taken(found.file, "file")?,
            serial: number(taken(found.serial, "serial")?, "serial")?,
            timestamp: number(taken(found.timestamp, "timestamp")?, "timestamp")?,
            expires: found.expires.map(|day| day.parse()).transpose()?,
            sha256: taken(found.sha256, "sha256")?,
        };
        statement.check()?;
        Ok(statement)
    }

    /// Checks what a line cannot hold, or no file can have.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let name = &self.file;
        if name.is_empty()
            || name.len() > MAX_NAME
            || name.contains(['/', '\\'])
            || name.contains(char::is_control)
        {
            return Err("the file's name is empty or too long, or has a slash or a control character".into());
        }
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err("the field sha256 is no SHA-256 in lower-case hexadecimal".into());
        }
        Ok(())
    }
}

/// A whole number in digits alone.
fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The fields of a line.
#[derive(Default)]
struct Fields {
    microraptor: Option<String>,
    role: Option<String>,
    file: Option<String>,
    serial: Option<String>,
    timestamp: Option<String>,
    expires: Option<String>,
    sha256: Option<String>,
}

impl Fields {
    fn place(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "microraptor" => &mut self.microraptor,
            "role" => &mut self.role,
            "file" => &mut self.file,
            "serial" => &mut self.serial,
            "timestamp" => &mut self.timestamp,
            "expires" => &mut self.expires,
            "sha256" => &mut self.sha256,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_was_written_and_nothing_else_is() {
        let sha256 = "ab".repeat(32);
        let statement = Statement {
            role: Role::Head,
            file: "liver: v2.safetensors".into(),
            serial: u64::MAX,
            timestamp: 0,
            expires: Some("2027-12-31".parse().unwrap()),
            sha256: sha256.clone(),
        };
        let line = statement.line();
        assert_eq!(Statement::parse(&line), Ok(statement.clone()));
        let for_ever = Statement { expires: None, ..statement };
        assert_eq!(Statement::parse(&(for_ever.line() + "\thashed")), Ok(for_ever));
        for (wrong, problem) in [
            (line.replace("microraptor:1", "microraptor:2"), "another version"),
            (line.replace("microraptor:1\t", ""), "microraptor is missing"),
            (line.replace("role:head", "role:heart"), "a role is"),
            (line.replace("serial:", "serial:+"), "no whole number"),
            (line.replace("timestamp:0", "timestamp:"), "no whole number"),
            (line.replace("serial:1", "serial:11"), "no whole number"),
            (line.replace("2027-12-31", "2027-02-30"), "a day is"),
            (line.replace("sha256:ab", "sha256:AB"), "no SHA-256"),
            (line.replace("file:", "file:../"), "slash"),
            (line.replace("liver", "li\u{7}ver"), "control"),
            (format!("{line}\tonly:weekdays"), "\"only\""),
            (format!("{line}\tserial:1"), "twice"),
            (format!("{line}\t"), "no colon"),
            (String::new(), "no colon"),
            ("timestamp:1555779966\tfile:test".into(), "microraptor is missing"),
        ] {
            let said = Statement::parse(&wrong).unwrap_err();
            assert!(said.contains(problem), "{wrong}: {said}");
        }
    }
}
