//! Frames from a reader, such as standard input.

use std::io::Read;
use std::time::Instant;

use super::source::{Frame, Grabbed, Source};
use crate::input::{FrameStream, InputError, ReadOptions, StreamFormat};

/// Frames from a reader. It does not tell when they were exposed, so that is the moment at which one is complete.
pub struct StreamSource {
    open: Option<Open>,
    frames: Option<FrameStream>,
    count: u64,
}

/// Waits for the header of a stream, if its format has one.
type Open = Box<dyn FnOnce() -> Result<FrameStream, InputError> + Send>;

impl StreamSource {
    /// Takes the reader, from which nothing is read before the first frame is wanted: whoever writes to it may wait for
    /// the program to be ready. So the errors of [`FrameStream::new`] come with the first frame.
    pub fn new(
        name: impl Into<String>,
        reader: impl Read + Send + 'static,
        format: StreamFormat,
        options: &ReadOptions,
    ) -> StreamSource {
        let (name, options) = (name.into(), options.clone());
        let open = Box::new(move || FrameStream::new(name, reader, format, &options));
        StreamSource { open: Some(open), frames: None, count: 0 }
    }
}

impl Source for StreamSource {
    fn next(&mut self) -> Result<Option<Grabbed>, InputError> {
        if let Some(open) = self.open.take() {
            self.frames = Some(open()?);
        }
        // None if it could not be opened, which was said.
        let Some(frames) = &mut self.frames else { return Ok(None) };
        let Some(frame) = frames.next() else { return Ok(None) };
        self.count += 1;
        let number = self.count;
        match frame {
            Ok(image) => Ok(Some(Grabbed::Frame(Frame::new(number, Instant::now(), image)))),
            Err(problem) if frames.goes_on() => Ok(Some(Grabbed::Lost { number, problem })),
            Err(error) => Err(error),
        }
    }
}
