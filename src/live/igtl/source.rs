//! Pictures of a link, as a source.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::{io, thread};

use super::address::IgtlAddress;
use super::link::{Item, Link};
use super::peers::IgtlPeers;
use crate::input::{InputError, ReadOptions};
use crate::live::source::{Frame, Grabbed, Source};

/// So many frames may come while one is worked on, and it is still known where it lies.
const PLACES: usize = 1024;

/// IMAGE messages of one device. A connection that is lost is made again; the source has no end.
pub struct IgtlSource {
    frames: Receiver<Item>,
    peers: IgtlPeers,
    count: u64,
}

impl IgtlSource {
    /// Connects to `address`, or listens there. Pictures are those of `device`, or of the first device that sends any.
    /// Those of 8 bits are taken as they are, others in the window of `options`. A peer that cannot be reached is tried
    /// again.
    ///
    /// # Errors
    /// [`InputError::Stream`] if nobody can be listened for at this address, or the system gives no thread.
    pub fn open(
        address: &IgtlAddress,
        device: Option<String>,
        options: &ReadOptions,
    ) -> Result<IgtlSource, InputError> {
        let link = Arc::new(Link::new(address, device, options));
        let failed = |error: io::Error| InputError::Stream {
            name: address.to_string(),
            problem: format!("cannot be used ({error}): give an address of this machine and a free port"),
        };
        let (send, frames) = sync_channel(0);
        let (ours, theirs) = (link.clone(), address.clone());
        let mut local = None;
        let thread = thread::Builder::new().name("igtl".into());
        let started = match address.listens {
            true => TcpListener::bind(address.endpoint()).and_then(|listener| {
                listener.set_nonblocking(true)?;
                local = listener.local_addr().ok();
                thread.spawn(move || ours.listen(&listener, &send))
            }),
            false => thread.spawn(move || ours.connect(&theirs, &send)),
        };
        started.map_err(failed)?;
        if let Some(local) = local {
            log::info!("{address}: listening at {local}");
        }
        Ok(IgtlSource { frames, peers: IgtlPeers::new(link, local), count: 0 })
    }

    /// Those at the other ends.
    pub fn peers(&self) -> IgtlPeers {
        self.peers.clone()
    }
}

impl Source for IgtlSource {
    fn next(&mut self) -> Result<Option<Grabbed>, InputError> {
        // No sender is left only if a thread failed.
        let Ok(item) = self.frames.recv() else { return Ok(None) };
        self.count += 1;
        let number = self.count;
        let (picture, epoch) = match item {
            Ok(both) => both,
            Err(problem) => return Ok(Some(Grabbed::Lost { number, problem })),
        };
        let mut state = self.peers.link().lock();
        state.places.insert(number, picture.place);
        if state.places.len() > PLACES {
            state.places.pop_first();
        }
        drop(state);
        let frame = Frame::new(number, picture.exposed, picture.image);
        Ok(Some(Grabbed::Frame(Frame { geometry: picture.geometry, epoch, ..frame })))
    }
}
