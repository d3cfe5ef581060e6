//! Names of peers: `igtl://HOST:PORT` and `igtl-listen://ADDRESS:PORT`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The port that OpenIGTLink's programs use.
const PORT: u16 = 18944;

const CONNECT: &str = "igtl://";
const LISTEN: &str = "igtl-listen://";

/// Whom pictures come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgtlAddress {
    /// Whether others connect to us.
    pub(super) listens: bool,
    host: String,
    port: u16,
}

impl IgtlAddress {
    /// Whether `text` is meant to be an address, right or wrong.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(CONNECT) || text.starts_with(LISTEN)
    }

    /// Whether others connect to us.
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether only programs on this machine reach it.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// Host and port, as the system's resolver takes them.
    pub(super) fn endpoint(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl FromStr for IgtlAddress {
    type Err = String;

    /// Reads `igtl://HOST:PORT`, or `igtl-listen://ADDRESS:PORT` to listen there. Without a port it is 18944; without an
    /// address others are listened for on 127.0.0.1, which only programs on this machine reach. Brackets hold an IPv6
    /// address.
    fn from_str(text: &str) -> Result<IgtlAddress, String> {
        let wrong = || {
            format!("'{text}' is no address: give igtl://HOST:PORT to connect, or igtl-listen://ADDRESS:PORT")
        };
        let (listens, rest) = match (text.strip_prefix(CONNECT), text.strip_prefix(LISTEN)) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(inner) => {
                let (host, after) = inner.split_once(']').ok_or_else(wrong)?;
                (host, (!after.is_empty()).then(|| after.strip_prefix(':').unwrap_or("")))
            }
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| wrong()))?;
        let host = if host.is_empty() && listens { "127.0.0.1" } else { host };
        let is_host =
            |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c) || (c == ':' && rest.starts_with('['));
        if host.is_empty() || !host.chars().all(is_host) || (port == 0 && !listens) {
            return Err(wrong());
        }
        Ok(IgtlAddress { listens, host: host.to_owned(), port })
    }
}

impl fmt::Display for IgtlAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.listens { LISTEN } else { CONNECT };
        match self.host.contains(':') {
            true => write!(f, "{scheme}[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, written) in [
            ("igtl://plus.local:18945", "igtl://plus.local:18945"),
            ("igtl://10.0.0.7/", "igtl://10.0.0.7:18944"),
            ("igtl://[fe80::1]", "igtl://[fe80::1]:18944"),
            ("igtl-listen://", "igtl-listen://127.0.0.1:18944"),
            ("igtl-listen://:0", "igtl-listen://127.0.0.1:0"),
            ("igtl-listen://[::]:7", "igtl-listen://[::]:7"),
        ] {
            let address: IgtlAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            assert!(IgtlAddress::is_meant(text));
        }
        for wrong in [
            "igtl://",
            "igtl://:18944",
            "igtl://a:0",
            "igtl://a:65536",
            "igtl://a:",
            "igtl://[::1",
            "igtl://a b",
            "igtl://[::1]7",
            "igtl://a:b:c",
            "http://a",
            "igtl://a/b",
        ] {
            assert!(wrong.parse::<IgtlAddress>().unwrap_err().contains("no address"), "{wrong}");
        }
        assert!(!IgtlAddress::is_meant("igtl/clip.mp4"));
    }
}
