//! Whoever is told what happens: the audit log first, standard output, then the others.

use std::sync::{Mutex, PoisonError};

use microraptor::heads::{Explanation, Outcome};
use microraptor::input::{Image, LabelMap, Region};
use microraptor::live::Frame;

use super::audited;
use super::line::{Counts, Event, line};
use crate::cli::audit::{self, Audit, Notice};
use crate::cli::loaded::Loaded;
use crate::cli::terminal;

/// What is told beside standard output. It must not wait: the next frame waits for it.
pub trait Outlet: Send {
    /// Its argument on the command line, for messages.
    fn name(&self) -> String;

    /// Takes what happened. After an error it is told nothing more.
    fn told(&mut self, told: &Told) -> anyhow::Result<()>;

    /// Whether somebody there wants to know why heads say what they say.
    fn explains(&self) -> bool {
        false
    }

    /// Where it is found, if it serves others over the network.
    fn url(&self) -> Option<String> {
        None
    }
}

/// What happened.
#[cfg_attr(not(feature = "page"), allow(dead_code, reason = "not every outlet is in every build"))]
pub struct Told<'a> {
    pub event: &'a Event<'a>,
    /// The line on standard output.
    pub json: &'a str,
    pub counts: Counts,
    /// The frame of [`Event::Frame`].
    pub seen: Option<Seen<'a>>,
}

/// A frame with what the heads say of it.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "page"), allow(dead_code, reason = "not every outlet is in every build"))]
pub struct Seen<'a> {
    pub frame: &'a Frame,
    /// All heads, in the order of the line.
    pub heads: &'a [Loaded],
    /// One for each head of the line, in its order; empty if the frame is withheld. `None` if a head's answer is.
    pub outcomes: &'a [Option<&'a Outcome>],
    /// Why they say so, in the same order; `None` unless it was asked for.
    pub explanations: &'a [Option<&'a Explanation>],
}

impl Seen<'_> {
    /// The picture; black if it may show the patient's name.
    pub fn picture(&self) -> Image {
        let image = &self.frame.image;
        let nothing = Region { top: 0, left: 0, height: 0, width: 0 };
        if self.frame.may_show_text { image.only(nothing) } else { image.clone() }
    }

    /// The part of a mask that lies on the picture.
    pub fn part(&self, mask: &LabelMap) -> LabelMap {
        self.frame.geometry.crop.map_or_else(|| mask.clone(), |part| mask.cropped(part))
    }
}

/// All that are told.
pub struct Outlets(Mutex<State>);

struct State {
    counts: Counts,
    audit: Audit,
    outlets: Vec<Box<dyn Outlet>>,
}

impl Outlets {
    pub fn new(outlets: Vec<Box<dyn Outlet>>, audit: Audit) -> Outlets {
        Outlets(Mutex::new(State { counts: Counts::default(), audit, outlets }))
    }

    /// Whether any of them wants to know why heads say what they say.
    pub fn explain(&self) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.outlets.iter().any(|outlet| outlet.explains())
    }

    /// Tells where those are found that serve others over the network.
    pub fn say_urls(&self) -> anyhow::Result<()> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = state.outlets.iter().filter_map(|outlet| Some((outlet.name(), outlet.url()?)));
        let urls: Vec<(String, String)> = found.collect();
        drop(state);
        urls.into_iter().try_for_each(|(what, url)| {
            let what = what.trim_start_matches('-').to_owned();
            self.say(&Event::Listening { what, url }, None, None)
        })
    }

    /// Adds a line to the audit log alone.
    pub fn write_down(&self, event: &audit::Event) -> anyhow::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_down(event)
    }

    /// Ends the audit log. Others may hold the outlets until the process ends.
    pub fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).audit.close();
    }

    /// Tells all of `event`, at once, whichever thread calls; `counts` are the last ones if it does not know them. An
    /// error is one of standard output, or of the audit log, without which no answer is given.
    pub fn say(&self, event: &Event, counts: Option<Counts>, seen: Option<Seen>) -> anyhow::Result<()> {
        let json = line(event)?;
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let written = audited::event(event, &json).map_or(Ok(()), |event| state.write_down(&event));
        match written {
            Err(error) if matches!(event, Event::Frame(_)) => return Err(error),
            _ => terminal::line(&json)?,
        }
        state.counts = counts.unwrap_or(state.counts);
        state.tell(event, &json, seen);
        written
    }
}

impl State {
    /// Adds a line to the audit log. If it cannot be added and need not be, a line on standard output says so.
    fn write_down(&mut self, event: &audit::Event) -> anyhow::Result<()> {
        let notice = match self.audit.say(event)? {
            None => return Ok(()),
            Some(Notice::Failed { problem }) => Event::AuditFailed { problem },
            Some(Notice::Again { lost }) => Event::AuditResumed { lost_lines: lost },
        };
        let json = line(&notice)?;
        terminal::line(&json)?;
        self.tell(&notice, &json, None);
        Ok(())
    }

    fn tell(&mut self, event: &Event, json: &str, seen: Option<Seen>) {
        let told = Told { event, json, counts: self.counts, seen };
        self.outlets.retain_mut(|outlet| match outlet.told(&told) {
            Ok(()) => true,
            Err(error) => {
                log::warn!("{}: {error:#}: it is told nothing more", outlet.name());
                false
            }
        });
    }
}
