//! What a browser may call a server that only this machine reaches.

use std::net::IpAddr;

use crate::cli::args::is_loopback;

/// Whether the `Host` of a request names this machine as itself, at any port, since a tunnel may have another.
///
/// A page of another site can have its own name resolve to 127.0.0.1 and then read what is served there (DNS rebinding);
/// its name is what tells it.
pub fn names_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_refused() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:9100", "[::1]:9100", "[::1]", "127.1.2.3"] {
            assert!(names_this_machine(host), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "127.0.0.1.nip.io:80",
            "192.168.0.5",
            "[::2]:80",
            "[::1",
        ] {
            assert!(!names_this_machine(host), "{host}");
        }
    }
}
