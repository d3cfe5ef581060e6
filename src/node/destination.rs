//! Application entity titles and addresses.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// An application entity title (PS3.5, 6.2, VR AE): 1 to 16 printable ASCII characters without a backslash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AeTitle(String);

impl AeTitle {
    /// The title.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AeTitle {
    type Err = String;

    /// Reads a title; spaces around it do not count.
    fn from_str(text: &str) -> Result<AeTitle, String> {
        let title = text.trim_matches(' ');
        let allowed = |c: char| c.is_ascii_graphic() && c != '\\' || c == ' ';
        if (1..=16).contains(&title.len()) && title.chars().all(allowed) {
            return Ok(AeTitle(title.to_owned()));
        }
        Err(format!("'{text}' is no AE title: give 1 to 16 printable characters, as in ORTHANC"))
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where results are sent: `TITLE@HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Its title.
    pub title: AeTitle,
    /// Name or address of its machine, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Destination {
    /// What stands for it in names of files: digits of the SHA-256 of its name.
    pub fn key(&self) -> String {
        Sha256::digest(self.to_string()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl FromStr for Destination {
    type Err = String;

    /// Reads `ORTHANC@10.0.0.5:4242`, `ARCHIVE@archive.local:104` or `A@[::1]:104`.
    fn from_str(text: &str) -> Result<Destination, String> {
        let wrong = || format!("'{text}' is no destination: give AET@HOST:PORT, as in ORTHANC@10.0.0.5:4242");
        let (title, address) = text.rsplit_once('@').ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(host) => host,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong());
        }
        Ok(Destination { title: title.parse()?, host: host.to_owned(), port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Destination { title, host, port } = self;
        if host.contains(':') {
            write!(f, "{title}@[{host}]:{port}")
        } else {
            write!(f, "{title}@{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read() {
        for text in ["ORTHANC@10.0.0.5:4242", "A@[::1]:104", "TWO WORDS@archive.local:11112"] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        let long = format!("{}@host:104", "A".repeat(17));
        for wrong in
            ["", "A", "A@host", "A@host:0", "A@:104", "@host:104", "A@::1:104", "A\\B@host:104", &long]
        {
            assert!(wrong.parse::<Destination>().is_err(), "{wrong}");
        }
        let key = |text: &str| text.parse::<Destination>().unwrap().key();
        assert_ne!(key("A@host:104"), key("A@host:105"));
        assert_eq!(key("A@host:104").len(), 16);
    }
}
