//! Arguments of `node`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use microraptor::node::{AeTitle, Destination};

use super::{AnsweringArgs, AuditArgs, StartArgs};
use crate::cli::limits::{Bytes, Seconds};

const EXAMPLES: &str = "\
Examples:
  microraptor node --aet RAPTOR --port 11112 --queue /var/lib/raptor --head lesion.safetensors \\
      --to ORTHANC@127.0.0.1:4242 demo
  microraptor node --aet RAPTOR --port 11112 --queue /var/lib/raptor --deploy deploy.toml \\
      --bind 0.0.0.0 --allow ORTHANC --to ORTHANC@10.0.0.5:4242

docs/node.md says what is promised, and how Orthanc is configured.";

#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct NodeArgs {
    #[command(flatten)]
    pub answering: AnsweringArgs,
    #[command(flatten)]
    pub audit: AuditArgs,
    #[command(flatten)]
    pub start: StartArgs,
    /// AE title of this node, which callers must call
    #[arg(long, value_name = "TITLE")]
    pub aet: AeTitle,
    /// Accept calls for any other title too
    #[arg(long)]
    pub any_called: bool,
    /// AE title that may call; may be repeated [default: all may]
    #[arg(long, value_name = "TITLE")]
    pub allow: Vec<AeTitle>,
    /// Port to listen at; 0 for one that the system chooses, and the first line names
    #[arg(long, value_name = "P")]
    pub port: u16,
    /// Address to listen at: 0.0.0.0 or [::] for all of this machine
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = address)]
    pub bind: IpAddr,
    /// Folder of the queue, which is made if it is missing; each node needs its own
    #[arg(long, value_name = "DIR")]
    pub queue: PathBuf,
    /// Where results are sent; may be repeated: each destination gets all of them
    #[arg(long, required = true, value_name = "AET@HOST:PORT")]
    pub to: Vec<Destination>,
    /// Days for which an object that was answered is remembered, so that it is not answered again, and one that failed is
    /// kept
    #[arg(long, value_name = "DAYS", default_value = "7", value_parser = days)]
    pub keep: Duration,
    /// Space on the disk that is kept free: no object is accepted below it
    #[arg(long, value_name = "BYTES", default_value = "256MiB")]
    pub reserve: Bytes,
    /// The largest object that is accepted
    #[arg(long, value_name = "BYTES", default_value = "1GiB")]
    pub max_object: Bytes,
    /// The largest PDU that is accepted, in bytes
    #[arg(long, value_name = "BYTES", default_value = "131072", value_parser = clap::value_parser!(u32).range(4096..=1 << 20))]
    pub max_pdu: u32,
    /// Associations at the same time; further ones are rejected
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_associations: u16,
    /// How long a peer may be silent before the connection is closed
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    pub idle: Seconds,
    /// How long a destination may take to connect, and for each answer
    #[arg(long, value_name = "SECONDS", default_value = "30")]
    pub patience: Seconds,
    /// The longest pause before a destination that failed is tried again; the first one is a second, and each further
    /// one twice as long
    #[arg(long, value_name = "SECONDS", default_value = "300")]
    pub retry: Seconds,
    /// Certificate of this node in PEM, with those that vouch for it: associations are through TLS, both ways
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    pub tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Certificates in PEM of the authorities that vouch for peers: callers and destinations need one of theirs
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Option<PathBuf>,
    /// Accepted for consistency; the output is always JSON lines
    #[arg(long)]
    pub json: bool,
}

/// Reads an address, with or without brackets.
fn address(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| format!("'{text}' is no address: give one as in 127.0.0.1, 0.0.0.0 or [::]"))
}

/// Reads a number of days, up to a hundred years.
fn days(text: &str) -> Result<Duration, String> {
    let days = text.parse().ok().filter(|days| (0.0..=36500.0).contains(days));
    days.map(|days: f64| Duration::from_secs_f64(days * 86400.0))
        .ok_or_else(|| format!("'{text}' is no number of days: give one as in 7 or 0.5"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_days_are_read() {
        assert_eq!(address("[::]").unwrap(), address("::").unwrap());
        assert!(address("localhost").unwrap_err().contains("no address"));
        assert_eq!(days("0.5").unwrap(), Duration::from_secs(43200));
        for wrong in ["", "-1", "nan", "inf", "1e9", "7d"] {
            assert!(days(wrong).unwrap_err().contains("no number of days"), "{wrong}");
        }
    }
}
