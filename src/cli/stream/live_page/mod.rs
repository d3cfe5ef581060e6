//! `--live-page`: a page that shows what the stream sees and says, for a phone or a screen beside the device.
//!
//! The stream leaves a frame only while somebody looks and none waits; another thread makes its picture, and each viewer
//! has a thread that sends the newest one.

mod heat;
mod picture;
mod said;
mod shared;
mod site;
mod token;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use microraptor::heads::Outcome;
use microraptor::input::LabelMap;
use microraptor::output::PALETTE;
use serde_json::Value;

use self::heat::heat_of;
use self::picture::Drawing;
use self::shared::{Doing, ENDED, Shared};
use self::site::Pages;
use self::token::Token;
use super::line::Event;
use super::opened::Opened;
use super::outlet::{Outlet, Seen, Told};
use super::web::Server;
use crate::cli::args::Address;

/// How long the program's end waits for viewers to be told.
const FAREWELL: Duration = Duration::from_secs(1);

/// The outlet.
pub struct LivePage {
    shared: Arc<Shared>,
    url: String,
}

impl LivePage {
    /// Starts to answer at `address`.
    pub fn start(address: Address, _: &Opened) -> anyhow::Result<LivePage> {
        let token = if address.is_loopback() { None } else { Some(Token::new()?) };
        let query = token.as_ref().map_or(String::new(), |token| format!("?token={}", token.text()));
        let shared = Arc::new(Shared::new());
        let drawn = shared.clone();
        thread::Builder::new().name("pictures".into()).spawn(move || drawn.draw())?;
        let pages = Pages::new(shared.clone(), token);
        let server = Server::start("page", address, Arc::new(pages)).with_context(|| {
            format!("--live-page {}: cannot listen there: give another address or port", address.0)
        })?;
        Ok(LivePage { shared, url: server.url(&format!("/{query}")) })
    }

    fn frame(&self, json: &str, seen: Option<Seen>) -> anyhow::Result<()> {
        let (looked_at, ready) = self.shared.wants();
        if !looked_at {
            return Ok(());
        }
        let mut said = said::frame(json)?;
        self.shared.line(&said.to_string());
        if let Some(seen) = seen.filter(|_| ready) {
            let masks = masks(&seen, &mut said);
            let heat = if self.shared.explains() { heat_of(&seen, &mut said) } else { None };
            said["hidden"] = seen.frame.may_show_text.into();
            self.shared.leave(Drawing { image: seen.picture(), masks, heat, said });
        }
        Ok(())
    }

    /// Gives viewers the time to be told of the end.
    fn farewell(&self) {
        let until = Instant::now() + FAREWELL;
        self.shared.news();
        while self.shared.lock().viewers > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The masks of the part of the picture that is looked at, with the number of colours that those before take; `said` gets
/// the colour of each class.
fn masks(seen: &Seen, said: &mut Value) -> Vec<(LabelMap, usize)> {
    let mut masks = Vec::new();
    let mut taken = 0;
    for (place, (loaded, outcome)) in seen.heads.iter().zip(seen.outcomes).enumerate() {
        let Some(Outcome::Mask(mask)) = outcome else { continue };
        let classes = loaded.head.model.classes().iter().skip(1);
        let colours = classes.enumerate().map(|(class, name)| {
            let [r, g, b] = PALETTE[(taken + class) % PALETTE.len()];
            (name.clone(), format!("rgb({r},{g},{b})").into())
        });
        said["heads"][place]["colours"] = Value::Object(colours.collect());
        masks.push((seen.part(mask), taken));
        taken += loaded.head.model.classes().len().saturating_sub(1);
    }
    masks
}

impl Outlet for LivePage {
    fn name(&self) -> String {
        "--live-page".into()
    }

    fn told(&mut self, told: &Told) -> anyhow::Result<()> {
        let mut state = self.shared.lock();
        state.counts = told.counts;
        said::facts(told.event, &mut state.facts);
        match told.event {
            Event::Frame(_) => {
                state.last = Instant::now();
                state.doing = Doing::new("running", false);
            }
            Event::Stalled { blank, .. } => state.doing = Doing::new("stalled", *blank),
            Event::Stuck { blank, .. } => state.doing = Doing::new("stuck", *blank),
            Event::Started { .. } | Event::Resumed => state.doing = Doing::new("running", false),
            Event::Ended { .. } => state.doing = Doing::new(ENDED, false),
            _ => {}
        }
        drop(state);
        match told.event {
            Event::Frame(_) => self.frame(told.json, told.seen)?,
            Event::Ended { .. } => self.farewell(),
            _ => self.shared.news(),
        }
        Ok(())
    }

    fn explains(&self) -> bool {
        self.shared.explains()
    }

    fn url(&self) -> Option<String> {
        Some(self.url.clone())
    }
}
