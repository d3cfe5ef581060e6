//! Frames from a camera, which may be unplugged and come back.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::source::{Frame, Grabbed, Source};
use crate::input::{CameraFormat, InputError, ReadOptions};

/// A camera that is gone is looked for after this time, then after twice that and so on, until it gives a frame.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest time between two looks.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A larger gap in the driver's numbers is a new count.
const MAX_GAP: u32 = 10_000;

/// What a camera is set to; it keeps what is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CameraSettings {
    /// V4L2's code of the pixels. Unless it is given, a format that is not read is exchanged for the first one that is.
    pub code: Option<[u8; 4]>,
    /// Columns and rows.
    pub size: Option<(u32, u32)>,
    /// Frames a second.
    pub rate: Option<f64>,
}

/// What gives frames to a [`CameraSource`].
pub trait Camera: Send {
    /// Opens it, again after an error, and starts it; how its frames are stored.
    ///
    /// # Errors
    /// Those of the system, and [`io::ErrorKind::InvalidInput`] for what it cannot be set to.
    fn start(&mut self) -> io::Result<CameraFormat>;

    /// Waits for the next frame.
    ///
    /// # Errors
    /// Those of the system; it has to be started again.
    fn shoot(&mut self) -> io::Result<Shot<'_>>;
}

/// A frame in the memory of a camera's driver.
pub struct Shot<'a> {
    /// The pixels.
    pub bytes: &'a [u8],
    /// The driver's number; the next frame has the next one unless the driver dropped some.
    pub sequence: u32,
    /// When it was taken, if the driver says so.
    pub exposed: Option<Instant>,
    /// The driver says that the pixels may be damaged.
    pub damaged: bool,
}

/// A camera as a source. One that goes away ends nothing: it is opened again when it comes back.
pub struct CameraSource<C> {
    name: String,
    camera: C,
    options: ReadOptions,
    /// `None` while it is gone.
    format: Option<CameraFormat>,
    wait: Duration,
    /// The driver's number of the next frame.
    expected: Option<u32>,
    /// Frames that the driver dropped before `held`, and are still to be told.
    missing: u32,
    held: Option<Result<Frame, InputError>>,
    count: u64,
    /// How often it was started.
    epoch: u32,
}

impl<C: Camera> CameraSource<C> {
    /// Starts the camera `name`. Of `options`, only the matrix and the range are used, where the driver does not say them.
    ///
    /// # Errors
    /// [`InputError::Stream`] if it cannot be opened or set, or gives frames that are not read.
    pub fn open(name: impl Into<String>, camera: C, options: &ReadOptions) -> Result<Self, InputError> {
        let mut source = CameraSource {
            name: name.into(),
            camera,
            options: options.clone(),
            format: None,
            wait: FIRST_WAIT,
            expected: None,
            missing: 0,
            held: None,
            count: 0,
            epoch: 0,
        };
        source.start()?;
        Ok(source)
    }

    fn start(&mut self) -> Result<(), InputError> {
        let format = self.camera.start().map_err(|error| {
            self.failed(match error.kind() {
                io::ErrorKind::InvalidInput => error.to_string(),
                _ => format!(
                    "cannot be opened ({error}): check that it is a camera which no other program uses"
                ),
            })
        })?;
        format.check(&self.name, &self.options)?;
        (self.format, self.expected) = (Some(format), None);
        self.epoch = self.epoch.wrapping_add(1);
        Ok(())
    }

    fn failed(&self, problem: String) -> InputError {
        InputError::Stream { name: self.name.clone(), problem }
    }

    /// Waits until the camera is back.
    fn come_back(&mut self) -> CameraFormat {
        loop {
            if let Some(format) = self.format {
                return format;
            }
            thread::sleep(self.wait);
            self.wait = (2 * self.wait).min(LONGEST_WAIT);
            if let Err(error) = self.start() {
                log::debug!("{error}");
            }
        }
    }

    /// Takes a frame, and notes how many the driver dropped before it.
    fn shoot(&mut self) -> Result<Frame, InputError> {
        let format = self.come_back();
        let shot = match self.camera.shoot() {
            Ok(shot) => shot,
            Err(error) => {
                self.format = None;
                let problem =
                    format!("gives no frame ({error}): it is opened again as soon as that is possible");
                return Err(self.failed(problem));
            }
        };
        self.wait = FIRST_WAIT;
        let Shot { bytes, sequence, exposed, damaged } = shot;
        let exposed = exposed.unwrap_or_else(Instant::now);
        let image = match damaged {
            true => Err("gave a frame that it says is damaged".to_owned()),
            false => Ok(format.image(&self.name, bytes, &self.options)),
        };
        let gap = sequence.wrapping_sub(self.expected.unwrap_or(sequence));
        self.missing = if gap > MAX_GAP { 0 } else { gap };
        self.expected = Some(sequence.wrapping_add(1));
        let image = image.map_err(|problem| self.failed(problem))??;
        Ok(Frame { epoch: self.epoch, ..Frame::new(0, exposed, image) })
    }
}

impl<C: Camera> Source for CameraSource<C> {
    fn next(&mut self) -> Result<Option<Grabbed>, InputError> {
        let taken = match self.held.take() {
            Some(held) => held,
            None => self.shoot(),
        };
        self.count += 1;
        let number = self.count;
        if self.missing > 0 {
            self.missing -= 1;
            self.held = Some(taken);
            let problem = self.failed("the driver dropped a frame".into());
            return Ok(Some(Grabbed::Lost { number, problem }));
        }
        Ok(Some(match taken {
            Ok(frame) => Grabbed::Frame(Frame { number, ..frame }),
            Err(problem) => Grabbed::Lost { number, problem },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::CameraPixel;

    /// What a camera does, one after the other.
    enum Does {
        /// Starts with frames of this width.
        Starts(usize),
        /// Is not there.
        Fails,
        /// Gives a frame of this number, of so many bytes.
        Gives(u32, usize),
        GivesDamaged(u32),
    }
    use Does::*;

    struct Acts {
        acts: std::vec::IntoIter<Does>,
        pixels: Vec<u8>,
    }

    impl Camera for Acts {
        fn start(&mut self) -> io::Result<CameraFormat> {
            let Some(Starts(width)) = self.acts.next() else { return Err(io::ErrorKind::NotFound.into()) };
            let pixel = CameraPixel::of_code(*b"GREY").unwrap();
            Ok(CameraFormat {
                pixel,
                width,
                height: 8,
                stride: width,
                interlaced: false,
                matrix: None,
                range: None,
            })
        }

        fn shoot(&mut self) -> io::Result<Shot<'_>> {
            let (sequence, length, damaged) = match self.acts.next() {
                Some(Gives(sequence, length)) => (sequence, length, false),
                Some(GivesDamaged(sequence)) => (sequence, 64, true),
                _ => return Err(io::Error::from_raw_os_error(19)),
            };
            self.pixels = vec![sequence as u8; length];
            Ok(Shot { bytes: &self.pixels, sequence, exposed: None, damaged })
        }
    }

    fn source(acts: Vec<Does>) -> Result<CameraSource<Acts>, InputError> {
        let camera = Acts { acts: acts.into_iter(), pixels: Vec::new() };
        CameraSource::open("/dev/video0", camera, &ReadOptions::default())
    }

    /// The next `count`: the value of a frame's pixels and its width, or why there is none.
    fn take(source: &mut CameraSource<Acts>, count: usize) -> Vec<Result<(u8, usize), String>> {
        let mut numbers = Vec::new();
        let taken = (0..count)
            .map(|_| match source.next().unwrap().unwrap() {
                Grabbed::Frame(frame) => {
                    numbers.push(frame.number);
                    Ok((frame.image.pixels().as_bytes()[0], frame.image.width()))
                }
                Grabbed::Lost { number, problem } => {
                    numbers.push(number);
                    Err(problem.to_string())
                }
            })
            .collect();
        let last = *numbers.last().unwrap();
        assert_eq!(numbers, (last + 1 - count as u64..=last).collect::<Vec<_>>());
        taken
    }

    #[test]
    fn dropped_and_damaged_frames_are_told_and_counted() {
        let mut source = source(vec![
            Starts(8),
            Gives(7, 64),
            Gives(10, 64),
            GivesDamaged(11),
            Gives(12, 63),
            Gives(u32::MAX, 64),
            Gives(0, 64),
            Gives(1, 64),
        ])
        .unwrap();
        let taken = take(&mut source, 9);
        let values: Vec<Option<u8>> = taken.iter().map(|t| t.as_ref().ok().map(|t| t.0)).collect();
        assert_eq!(values, [Some(7), None, None, Some(10), None, None, Some(255), Some(0), Some(1)]);
        for (at, why) in
            [(1, "the driver dropped"), (2, "the driver dropped"), (4, "damaged"), (5, "63 bytes")]
        {
            let message = taken[at].as_ref().unwrap_err();
            assert!(message.starts_with("/dev/video0: ") && message.contains(why), "{message}");
        }
    }

    #[test]
    fn a_camera_that_went_away_comes_back() {
        let acts = vec![Starts(8), Gives(3, 64), Fails, Fails, Fails, Starts(16), Gives(0, 128)];
        let mut source = source(acts).unwrap();
        assert_eq!(source.epoch, 1);
        let taken = take(&mut source, 3);
        assert_eq!(source.epoch, 2);
        assert_eq!((&taken[0], &taken[2]), (&Ok((3, 8)), &Ok((0, 16))));
        assert!(taken[1].as_ref().unwrap_err().contains("it is opened again"), "{taken:?}");
    }

    #[test]
    fn one_that_is_not_there_at_the_start_is_refused() {
        let message = source(vec![Fails]).err().unwrap().to_string();
        assert!(message.starts_with("/dev/video0: cannot be opened (entity not found)"), "{message}");
    }
}
