//! What those at the other ends are told.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::link::{DEVICE, Link};
use super::message::{Code, Stamp, status, string};
use super::picture::labels;
use crate::input::LabelMap;
use crate::live::view::Turn;

/// Sends to all that are connected, without waiting: what a peer does not take in time is left out, and counted.
#[derive(Clone)]
pub struct IgtlPeers(Arc<Open>);

/// The link is open while its source or somebody who sends is there.
struct Open {
    link: Arc<Link>,
    local: Option<SocketAddr>,
}

/// What STATUS messages say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgtlStatus {
    /// Frames are answered: OK (1).
    Answering,
    /// No frame comes: time out (7).
    Stalled,
    /// The program ends: shutdown in progress (19).
    Ending,
}

impl IgtlPeers {
    pub(super) fn new(link: Arc<Link>, local: Option<SocketAddr>) -> IgtlPeers {
        IgtlPeers(Arc::new(Open { link, local }))
    }

    pub(super) fn link(&self) -> &Link {
        &self.0.link
    }

    /// The address and port at which others are listened for, if they are.
    pub fn local(&self) -> Option<SocketAddr> {
        self.0.local
    }

    /// Sends `text` as a STRING message of the device `microraptor`. With `first`, each peer that connects later is sent
    /// it too, before anything else.
    pub fn say(&self, text: &str, first: bool) {
        let Some(bytes) = self.string(Stamp::now(), text) else { return };
        match first {
            true => self.link().post_first(bytes.into()),
            false => self.link().post(&bytes.into(), false),
        }
    }

    /// Sends the answer to frame `number`: `text`, if there is any, and masks, each with the number in the name of its
    /// device `microraptor-mask-N`. They have the time of the frame's message and lie where its picture does; `turn` is how
    /// that was turned before it was looked at, and is undone.
    pub fn answer(&self, number: u64, text: Option<&str>, masks: &[(usize, &LabelMap)], turn: Turn) {
        let place = {
            let mut state = self.link().lock();
            // Those before will not be asked for.
            state.places = state.places.split_off(&number);
            state.places.remove(&number)
        };
        let stamp = place.as_ref().map_or_else(Stamp::now, |place| place.stamp);
        let mut bytes = text.and_then(|text| self.string(stamp, text)).unwrap_or_default();
        for &(mask, map) in masks {
            let map = undone(map, turn);
            match place
                .as_ref()
                .filter(|place| map.depth == 1 && place.size.map(usize::from) == [map.width, map.height])
            {
                Some(place) => bytes.extend(labels(&format!("{DEVICE}-mask-{mask}"), place, &map)),
                // More frames than are remembered came while this one was worked on.
                None => _ = self.link().left_out.fetch_add(1, Relaxed),
            }
        }
        if !bytes.is_empty() {
            self.link().post(&bytes.into(), true);
        }
    }

    /// Sends a STATUS message, and answers questions for it so from now on.
    pub fn status(&self, status_now: IgtlStatus) {
        let (code, text) = match status_now {
            IgtlStatus::Answering => (Code::Ok, "frames are answered"),
            IgtlStatus::Stalled => (Code::TimeOut, "no frame comes"),
            IgtlStatus::Ending => (Code::Shutdown, "the program ends"),
        };
        let before = std::mem::replace(&mut self.link().lock().code, code);
        if before != code {
            self.link().post(&status(DEVICE, code, text).into(), false);
        }
    }

    /// How many messages were left out so far, because a peer did not take them in time or cannot.
    pub fn left_out(&self) -> u64 {
        self.link().left_out.load(Relaxed)
    }

    /// Waits until all was sent, but not longer than `most`.
    pub fn flush(&self, most: Duration) {
        self.link().flush(most);
    }

    fn string(&self, stamp: Stamp, text: &str) -> Option<Vec<u8>> {
        let bytes = string(DEVICE, stamp, text);
        if bytes.is_none() {
            log::debug!(
                "{}: a text of {} bytes is left out, too long for STRING",
                self.link().name,
                text.len()
            );
            self.link().left_out.fetch_add(1, Relaxed);
        }
        bytes
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.link.closed.store(true, Relaxed);
    }
}

/// The map as it was before the picture was turned.
fn undone(map: &LabelMap, turn: Turn) -> Cow<'_, LabelMap> {
    let (height, width) = (map.height, map.width);
    // For each place of the picture as it came, where it lies in the turned one.
    let from = |rows: usize, columns: usize, place: &dyn Fn(usize, usize) -> (usize, usize)| {
        let cells = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let labels = cells.map(|(row, column)| place(row, column)).map(|(y, x)| map.labels[y * width + x]);
        Cow::Owned(LabelMap { depth: 1, height: rows, width: columns, labels: labels.collect() })
    };
    match turn {
        _ if map.depth != 1 => Cow::Borrowed(map),
        Turn::None => Cow::Borrowed(map),
        Turn::Quarter => from(width, height, &|row, column| (column, width - 1 - row)),
        Turn::Half => from(height, width, &|row, column| (height - 1 - row, width - 1 - column)),
        Turn::ThreeQuarters => from(width, height, &|row, column| (height - 1 - column, row)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Image;

    /// What is turned as pictures are, and back, is as before.
    #[test]
    fn a_turned_mask_is_turned_back() {
        let pixels: Vec<u8> = (0..96).collect();
        for (quarters, turn) in
            [Turn::None, Turn::Quarter, Turn::Half, Turn::ThreeQuarters].into_iter().enumerate()
        {
            let turned = Image::from_grey8(12, 8, pixels.clone()).unwrap().turned(quarters as u8);
            let labels = turned.pixels().as_bytes().to_vec();
            let map = LabelMap::new(1, turned.height(), turned.width(), labels).unwrap();
            let back = undone(&map, turn);
            assert_eq!((back.height, back.width, &back.labels), (8, 12, &pixels), "{turn:?}");
        }
    }
}
