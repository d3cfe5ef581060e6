//! Cameras of Linux (Video for Linux 2), by the crate `v4l`. Its [`Camera`] is what the tests of the program run against a
//! driver that is played from files (`tests/reference/v4l2_shim.c`).

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use v4l::buffer::{Flags as BufferFlags, Metadata, Type};
use v4l::capability::Flags;
use v4l::format::{Colorspace, FieldOrder, Quantization};
use v4l::io::mmap::Stream;
use v4l::io::traits::CaptureStream;
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC, Fraction};

use super::camera::{Camera, CameraSettings, Shot};
use crate::guarded::caught;
use crate::input::{CameraFormat, CameraPixel, Matrix, Range};

/// Buffers of the driver: while one is read, others are filled.
const BUFFERS: u32 = 4;

/// A timestamp that is older is one of another clock.
const OLDEST: Duration = Duration::from_secs(10);

/// `POLLIN` of poll(2).
const READABLE: i16 = 1;

/// A camera of Linux.
pub struct V4l2Camera {
    path: PathBuf,
    settings: CameraSettings,
    open: Option<Open>,
}

/// The stream goes before its device.
struct Open {
    stream: Stream<'static>,
    /// Whether it has given a frame, so that buffers wait for the next ones.
    running: bool,
    device: Device,
}

impl V4l2Camera {
    /// The camera at `path`, such as `/dev/video0`, which is not opened yet.
    pub fn new(path: impl Into<PathBuf>, settings: CameraSettings) -> V4l2Camera {
        V4l2Camera { path: path.into(), settings, open: None }
    }

    fn close(&mut self) {
        let open = self.open.take();
        // The crate panics if a camera that was unplugged cannot be stopped.
        let _ = caught(|| drop(open));
    }
}

impl Camera for V4l2Camera {
    fn start(&mut self) -> io::Result<CameraFormat> {
        self.close();
        let (path, settings) = (&self.path, &self.settings);
        // The crate panics on values of the driver that it does not know.
        let set = caught(|| {
            let device = Device::with_path(path)?;
            let format = set(&device, settings)?;
            Ok::<_, io::Error>((device, format))
        });
        let (device, format) =
            set.map_err(|reason| refused(format!("has a driver that is not understood: {reason}")))??;
        let stream = Stream::with_buffers(&device, Type::VideoCapture, BUFFERS)?;
        let read = read(&format)?;
        log::info!("{}: {} {}x{}", self.path.display(), format.fourcc, format.width, format.height);
        self.open = Some(Open { stream, running: false, device });
        Ok(read)
    }

    fn shoot(&mut self) -> io::Result<Shot<'_>> {
        let open = self.open.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        // Before the first frame nothing is under way that could be waited for; afterwards a signal ends this waiting,
        // and not the one within `next`, which would lose a buffer.
        if open.running {
            wait(&open.device)?;
        }
        let (bytes, meta) = open.stream.next()?;
        open.running = true;
        let used = bytes.len().min(meta.bytesused as usize);
        Ok(Shot {
            bytes: &bytes[..used],
            sequence: meta.sequence,
            exposed: exposed(meta),
            damaged: meta.flags.contains(BufferFlags::ERROR),
        })
    }
}

impl Drop for V4l2Camera {
    fn drop(&mut self) {
        self.close();
    }
}

/// When a frame was taken. The clock is that of [`Instant`], CLOCK_MONOTONIC, unless the driver says otherwise.
fn exposed(meta: &Metadata) -> Option<Instant> {
    if meta.flags & BufferFlags::TIMESTAMP_MASK != BufferFlags::TIMESTAMP_MONOTONIC {
        return None;
    }
    let since = |seconds: i64, nanoseconds: i64| {
        Some(Duration::new(seconds.try_into().ok()?, 0) + Duration::from_nanos(nanoseconds.try_into().ok()?))
    };
    let taken = since(meta.timestamp.sec, meta.timestamp.usec.checked_mul(1000)?)?;
    let (now, clock) = (Instant::now(), clock_gettime(ClockId::Monotonic));
    let age = since(clock.tv_sec, clock.tv_nsec)?.checked_sub(taken)?;
    if age > OLDEST { None } else { now.checked_sub(age) }
}

/// Waits until a frame is there, or the camera gone.
fn wait(device: &Device) -> io::Result<()> {
    loop {
        match device.handle().poll(READABLE, -1) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(drop),
        }
    }
}

fn refused(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}

/// Sets a camera, and returns what it gives; refuses what it does not give as wanted.
fn set(device: &Device, settings: &CameraSettings) -> io::Result<Format> {
    let flags = device.query_caps()?.capabilities;
    if !flags.contains(Flags::VIDEO_CAPTURE | Flags::STREAMING) {
        return Err(refused(if flags.contains(Flags::VIDEO_CAPTURE_MPLANE) {
            "gives each plane its own memory (V4L2's multi-planar interface), which is not read: pipe it through ffmpeg".into()
        } else {
            "is no camera that streams: give another device (v4l2-ctl --list-devices)".into()
        }));
    }
    let mut format = device.format()?;
    if let Some((width, height)) = settings.size {
        (format.width, format.height) = (width, height);
    }
    format.fourcc = match settings.code {
        Some(code) => FourCC::new(&code),
        None if CameraPixel::of_code(format.fourcc.repr).is_some() => format.fourcc,
        None => best(device)?.unwrap_or(format.fourcc),
    };
    // What the driver computes.
    (format.stride, format.size) = (0, 0);
    let got = device.set_format(&format)?;
    if (got.fourcc, got.width, got.height) != (format.fourcc, format.width, format.height)
        && (settings.code.is_some() || settings.size.is_some())
    {
        return Err(refused(format!(
            "gives {}:{}x{} where {}:{}x{} was asked for: v4l2-ctl --list-formats-ext shows what it has",
            got.fourcc, got.width, got.height, format.fourcc, format.width, format.height
        )));
    }
    if let Some(rate) = settings.rate {
        set_rate(device, rate)?;
    }
    Ok(got)
}

/// The best format of a camera that is read.
fn best(device: &Device) -> io::Result<Option<FourCC>> {
    let offered: Vec<[u8; 4]> = device.enum_formats()?.into_iter().map(|format| format.fourcc.repr).collect();
    Ok(CameraPixel::codes().find(|code| offered.contains(code)).map(|code| FourCC::new(&code)))
}

/// Sets the frames a second.
fn set_rate(device: &Device, rate: f64) -> io::Result<()> {
    let Fraction { numerator, denominator } =
        device.set_params(&Parameters::new(Fraction::new(1000, (1000.0 * rate).round() as u32)))?.interval;
    let got = f64::from(denominator) / f64::from(numerator.max(1));
    // 30 for 29.97 is no other rate.
    if (got / rate - 1.0).abs() > 0.01 {
        return Err(refused(format!("gives {got:.2} frames a second and not {rate}: give --fps {got:.2}")));
    }
    Ok(())
}

/// What a format of V4L2 says of the pixels. The matrix and the range that belong to a colour space are those of
/// `V4L2_MAP_YCBCR_ENC_DEFAULT` and `V4L2_MAP_QUANTIZATION_DEFAULT` (linux/videodev2.h).
fn read(format: &Format) -> io::Result<CameraFormat> {
    let Some(pixel) = CameraPixel::of_code(format.fourcc.repr) else {
        return Err(refused(format!(
            "gives {}, which is not read: ask for MJPG, YUYV, NV12, GREY, RGB3 or BGR3 if it has one",
            format.fourcc
        )));
    };
    let interlaced = match format.field_order {
        FieldOrder::Any | FieldOrder::Progressive => false,
        FieldOrder::Interlaced | FieldOrder::InterlacedTB | FieldOrder::InterlacedBT => true,
        other => return Err(refused(format!("gives fields one by one ({other}): set it to whole frames"))),
    };
    let matrix = match format.colorspace {
        Colorspace::Default | Colorspace::RAW => None,
        Colorspace::Rec709 | Colorspace::DCIP3 => Some(Matrix::Bt709),
        Colorspace::Rec2020 => Some(Matrix::Bt2020),
        Colorspace::SMPTE240M => {
            return Err(refused("gives colours of SMPTE 240M, which are not read".into()));
        }
        _ => Some(Matrix::Bt601),
    };
    let range = match (format.quantization, format.colorspace) {
        (Quantization::FullRange, _) | (Quantization::Default, Colorspace::JPEG) => Some(Range::Full),
        (Quantization::LimitedRange, _) => Some(Range::Limited),
        (Quantization::Default, _) => None,
    };
    Ok(CameraFormat {
        pixel,
        width: format.width as usize,
        height: format.height as usize,
        stride: format.stride as usize,
        interlaced,
        matrix,
        range,
    })
}
