//! `--metrics`: numbers of a stream for Prometheus.

mod numbers;
mod text;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;

use self::numbers::Numbers;
use super::opened::Opened;
use super::outlet::{Outlet, Told};
use super::web::{Machine, Reply, Request, Server, Site};
use crate::cli::args::Address;

/// The page's path, as Prometheus expects it.
const PATH: &str = "/metrics";

/// The outlet. What it is told it adds up; the text is made by the thread that is asked for it.
pub struct Metrics {
    numbers: Arc<Mutex<Numbers>>,
    server: Server,
}

impl Metrics {
    /// Starts to answer at `address`.
    pub fn start(address: Address, opened: &Opened) -> anyhow::Result<Metrics> {
        let numbers = Arc::new(Mutex::new(Numbers::new(opened)));
        let site = Scraped { numbers: numbers.clone(), machine: Machine::default() };
        let server = Server::start("metrics", address, Arc::new(site)).with_context(|| {
            format!("--metrics {}: cannot listen there: give another address or port", address.0)
        })?;
        Ok(Metrics { numbers, server })
    }
}

impl Outlet for Metrics {
    fn name(&self) -> String {
        "--metrics".into()
    }

    fn told(&mut self, told: &Told) -> anyhow::Result<()> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).add(told.event, told.counts);
        Ok(())
    }

    fn url(&self) -> Option<String> {
        Some(self.server.url(PATH))
    }
}

/// What is asked for.
struct Scraped {
    numbers: Arc<Mutex<Numbers>>,
    machine: Machine,
}

impl Site for Scraped {
    fn answer(&self, request: &Request) -> Reply {
        if request.path != PATH {
            return Reply::text(404, "the numbers are at /metrics\n");
        }
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let body = text::write(&numbers, &self.machine.read()).into_bytes();
        Reply::Whole { status: 200, kind: text::CONTENT_TYPE, fields: Vec::new(), body }
    }
}
