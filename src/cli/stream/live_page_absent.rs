//! Stub for `--live-page` in builds without it: an error that says so.

use anyhow::bail;

use super::opened::Opened;
use super::outlet::{Outlet, Told};
use crate::cli::args::Address;

/// A page. In this build there can be none, so no value of this type exists.
pub enum LivePage {}

impl LivePage {
    /// Always fails in this build.
    pub fn start(_: Address, _: &Opened) -> anyhow::Result<LivePage> {
        bail!("--live-page: this program was built without it: build it with --features page")
    }
}

impl Outlet for LivePage {
    fn name(&self) -> String {
        match *self {}
    }

    fn told(&mut self, _: &Told) -> anyhow::Result<()> {
        match *self {}
    }
}
