//! What a file is for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a signed file is for. A key is trusted for some of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A backbone.
    Model,
    /// A head.
    Head,
    /// A deployment file.
    Deploy,
    /// A board file.
    Board,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 4] = [Role::Model, Role::Head, Role::Deploy, Role::Board];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Model => "model",
            Role::Head => "head",
            Role::Deploy => "deploy",
            Role::Board => "board",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        Role::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| "a role is model, head, deploy or board".into())
    }
}
