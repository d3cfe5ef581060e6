//! Pictures from OpenIGTLink, and answers to those at the other ends.

use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, bail};
use microraptor::heads::Outcome;
use microraptor::input::{LabelMap, ReadOptions};
use microraptor::live::{IgtlAddress, IgtlPeers, IgtlSource, IgtlStatus, Source, Turn};

use super::line::Event;
use super::outlet::{Outlet, Seen, Told};
use super::source::no_regions;
use crate::cli::args::{IgtlSend, StreamArgs};

/// How long the last line may take to be sent.
const LAST: Duration = Duration::from_secs(1);

/// Pictures, and who is told of the answers at their other end, if anybody is.
pub type Answered = (Box<dyn Source>, Option<Box<dyn Outlet>>);

/// Opens `path` if it names OpenIGTLink: the pictures, and who is answered.
pub fn open(path: &Path, args: &StreamArgs, read: &ReadOptions) -> anyhow::Result<Option<Answered>> {
    let Some(text) = path.to_str().filter(|text| IgtlAddress::is_meant(text)) else {
        if args.igtl_device.is_some() {
            bail!("--igtl-device: {} is no OpenIGTLink source: leave it out", path.display());
        }
        return Ok(None);
    };
    let address: IgtlAddress = text.parse().map_err(|problem: String| anyhow!(problem))?;
    if args.fps.is_some() {
        bail!("--fps: pictures of OpenIGTLink come at their own rate: leave it out");
    }
    if args.camera.is_some() {
        bail!("--camera: {address} is no camera: leave it out");
    }
    if read.crop_us {
        bail!("{address}: {}", no_regions(args));
    }
    if address.listens() && address.port() == 0 {
        bail!("{address}: give a port, which others can be told");
    }
    if address.listens() && !address.is_loopback() {
        log::warn!("{address}: whoever reaches this address may send pictures and read answers");
    }
    let source = IgtlSource::open(&address, args.igtl_device.clone(), read)?;
    let answers = Answers {
        name: address.to_string(),
        peers: source.peers(),
        send: args.igtl_send,
        turn: args.view().turn,
    };
    let outlet = (args.igtl_send != IgtlSend::None).then(|| Box::new(answers) as Box<dyn Outlet>);
    Ok(Some((Box::new(source), outlet)))
}

/// Sends lines as STRING messages, and masks as IMAGE messages, to those that are connected.
struct Answers {
    name: String,
    peers: IgtlPeers,
    send: IgtlSend,
    /// How pictures are turned before they are looked at.
    turn: Turn,
}

impl Outlet for Answers {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn told(&mut self, told: &Told) -> anyhow::Result<()> {
        let text = (self.send != IgtlSend::Masks).then_some(told.json);
        if let (Event::Frame(_), Some(Seen { frame, outcomes, .. })) = (told.event, told.seen) {
            self.peers.status(IgtlStatus::Answering);
            let masks: Vec<(usize, &LabelMap)> = match self.send {
                IgtlSend::Text => Vec::new(),
                _ => outcomes.iter().enumerate().filter_map(|(head, outcome)| mask(head, *outcome)).collect(),
            };
            self.peers.answer(frame.number, text, &masks, self.turn);
            return Ok(());
        }
        match told.event {
            Event::Stalled { .. } => self.peers.status(IgtlStatus::Stalled),
            Event::Ended { .. } => self.peers.status(IgtlStatus::Ending),
            _ => {}
        }
        // Where the page is, with its secret, is for whoever started the program.
        if let Some(text) = text.filter(|_| !matches!(told.event, Event::Listening { .. })) {
            self.peers.say(text, matches!(told.event, Event::Started { .. } | Event::Reloaded { .. }));
        }
        if let Event::Ended { .. } = told.event {
            self.peers.flush(LAST);
            let left_out = self.peers.left_out();
            if left_out > 0 {
                log::warn!(
                    "{}: {left_out} messages were left out, which others did not take in time",
                    self.name
                );
            }
        }
        Ok(())
    }
}

/// The mask of a head, with its number on the command line.
fn mask(head: usize, outcome: Option<&Outcome>) -> Option<(usize, &LabelMap)> {
    match outcome {
        Some(Outcome::Mask(mask)) => Some((head + 1, mask)),
        _ => None,
    }
}
