//! Where a server listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// An address to listen on; of a port alone, that of the loopback device, so that only this machine reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = String;

    /// Reads `9100`, `:9100`, `localhost:9100`, `0.0.0.0:9100` or `[::1]:9100`. Port 0 stands for any that is free.
    fn from_str(text: &str) -> Result<Address, String> {
        let port = text.strip_prefix("localhost:").or(text.strip_prefix(':')).unwrap_or(text);
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let local = || Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.parse().ok()?));
        let address = if digits { local() } else { text.parse().ok() };
        address.map(Address).ok_or_else(|| {
            format!("'{text}' is no address: give a port, as in 9100, or an address of this machine, as in 0.0.0.0:9100")
        })
    }
}

impl Address {
    /// Whether only this machine reaches it.
    #[cfg_attr(not(feature = "page"), allow(dead_code, reason = "metrics are open to all who reach them"))]
    pub fn is_loopback(self) -> bool {
        is_loopback(self.0.ip())
    }
}

/// Whether `ip` is one of the loopback device.
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_for_this_machine_only() {
        for text in ["9100", ":9100", "localhost:9100", "127.0.0.1:9100"] {
            assert_eq!(text.parse::<Address>().unwrap().0.to_string(), "127.0.0.1:9100");
        }
        for (text, loopback) in
            [("0.0.0.0:0", false), ("[::1]:80", true), ("[::ffff:127.0.0.1]:80", true), ("[::]:80", false)]
        {
            assert_eq!(text.parse::<Address>().unwrap().is_loopback(), loopback, "{text}");
        }
        for wrong in ["", ":", "65536", "host:80", "localhost", "1.2.3.4", "-1", "+1", "::1:80"] {
            assert!(wrong.parse::<Address>().unwrap_err().contains("no address"), "{wrong}");
        }
    }
}
