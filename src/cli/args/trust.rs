//! Arguments of signatures: whom to trust, in every command, and of `key`, `sign` and `verify`.

use std::path::PathBuf;

use clap::Args;
#[cfg(feature = "sign")]
use clap::Subcommand;
#[cfg(feature = "sign")]
use microraptor::sign::Day;
use microraptor::sign::Role;

/// Whose signatures count.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Signatures")]
pub struct TrustArgs {
    /// Use no model, head, deployment file or board file without a signature that counts: a trust file, a folder with
    /// trust.toml, or one .pub file [default: MICRORAPTOR_TRUST, else signatures are not looked at]
    #[arg(long, global = true, value_name = "KEYS")]
    pub trust: Option<PathBuf>,
    /// File that keeps the highest version seen of each signed file, so that older ones are refused [default:
    /// MICRORAPTOR_TRUST_SEEN, else beside the trust file, with the extension seen]
    #[arg(long, global = true, value_name = "FILE")]
    pub trust_seen: Option<PathBuf>,
}

#[cfg(feature = "sign")]
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    pub action: KeyAction,
}

/// What to do with a key.
#[cfg(feature = "sign")]
#[derive(Debug, Subcommand)]
pub enum KeyAction {
    /// Make a key pair: the private key, encrypted, and its public key beside it.
    New {
        /// File of the private key, such as anna.key; the public key is anna.pub
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Print a public key: of a .pub file, or (with the password) of a private key's file.
    Show {
        /// File of a public or private key
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        password: PasswordArgs,
    },
}

/// Where the password of a private key is read.
#[cfg(feature = "sign")]
#[derive(Clone, Debug, Args)]
pub struct PasswordArgs {
    /// Read the password from the first line of this file, which nobody else may read, or of standard input (-)
    /// [default: ask on the terminal]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

#[cfg(feature = "sign")]
#[derive(Debug, Args)]
pub struct SignArgs {
    /// Files to sign; the signature of FILE is written to FILE.minisig
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// File of the private key, of `microraptor key new` or of minisign
    #[arg(short, long, value_name = "FILE")]
    pub key: PathBuf,
    /// What the files are: model, head, deploy or board
    #[arg(long, value_name = "ROLE")]
    pub role: Role,
    /// Version of the files, higher than that of every one before it of the same name [default: the time in seconds
    /// since 1970]
    #[arg(long, value_name = "N")]
    pub serial: Option<u64>,
    /// The last day, UTC, on which the signatures count, such as 2027-12-31 [default: no end]
    #[arg(long, value_name = "DAY")]
    pub expires: Option<Day>,
    #[command(flatten)]
    pub password: PasswordArgs,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Signed files
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// Refuse files that were signed as anything else: model, head, deploy or board
    #[arg(long, value_name = "ROLE")]
    pub role: Option<Role>,
    /// Print a JSON line for each file
    #[arg(long)]
    pub json: bool,
}
