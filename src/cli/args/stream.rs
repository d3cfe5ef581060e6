//! Arguments of `stream`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use microraptor::board::Signal;
use microraptor::input::{CameraPixel, Region};
use microraptor::live::{Policy, Turn, View};

use super::{Address, AnsweringArgs, AuditArgs, ChoiceArgs, Milliseconds, StartArgs, StdinArgs};
use crate::cli::limits::Seconds;

#[derive(Clone, Debug, Args)]
pub struct StreamArgs {
    #[command(flatten)]
    pub answering: AnsweringArgs,
    #[command(flatten)]
    pub audit: AuditArgs,
    #[command(flatten)]
    pub start: StartArgs,
    /// Where frames come from: `-` for standard input, a camera (/dev/video0), a folder into which files come, a clip,
    /// which is played at its rate, or OpenIGTLink (igtl://HOST:PORT, igtl-listen://ADDRESS:PORT) [default: -]
    #[arg(value_name = "SOURCE")]
    pub source: Option<PathBuf>,
    #[command(flatten)]
    pub stdin: StdinArgs,
    /// Frames a second at which a clip is played, or that a camera is to give [default: what the file or the camera says]
    #[arg(long, value_name = "RATE")]
    pub fps: Option<Rate>,
    /// Pixel format and size that a camera is to give: MJPG, YUYV, NV12, GREY, RGB3 or BGR3 [default: as it is set]
    #[arg(long, value_name = "FORMAT[:WxH]", value_parser = wanted)]
    pub camera: Option<Wanted>,
    /// Mark answers that come later than so many milliseconds after the exposure of their frame
    #[arg(long, value_name = "MS")]
    pub deadline: Option<Deadline>,
    /// What happens to a frame that comes while another one waits: newest (it takes its place), every (the source
    /// waits), skip:N (of N + 1 frames one is taken)
    #[arg(long, value_name = "newest|every|skip:N", default_value = "newest")]
    pub policy: Policy,
    /// Seconds without a frame, or in one run, after which a line says so
    #[arg(long, value_name = "SECONDS", default_value = "2")]
    pub stall: Seconds,
    /// What else happens then
    #[arg(long, value_enum, default_value = "report")]
    pub on_stall: OnStall,
    /// Withhold a head's answer on pictures that are unlike those that it was trained on
    #[arg(long)]
    pub abstain: bool,
    /// Coverage of the set of classes or of the contours in each answer, such as 0.9, for heads that were trained with
    /// --calibrate or --coverage [default: the head's own, if it has one]
    #[arg(long, value_name = "P")]
    pub coverage: Option<f64>,
    /// Let heads that see a whole clip (abmil, volume) answer each frame for the last N; an answer is then (N - 1) / 2
    /// frames behind
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub window: Option<u16>,
    /// Say why in each line: what each patch adds to a logit (linear, volume, abmil), or which training images voted (knn)
    #[arg(long)]
    pub explain: bool,
    /// Average a head's probabilities over the last N frames; an answer is then (N - 1) / 2 frames behind
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub smooth: u16,
    /// Turn each picture clockwise by so many degrees
    #[arg(long, value_name = "0|90|180|270", default_value = "0")]
    pub rotate: Turn,
    /// Look at a part of each (turned) picture only: width, height, left and top in pixels
    #[arg(long, value_name = "WxH+X+Y", value_parser = region)]
    pub crop: Option<Region>,
    /// Of DICOM ultrasound files, look at the largest two-dimensional region, as a head that was trained with --crop-us
    /// does by itself
    #[arg(long)]
    pub crop_us: bool,
    /// Write each picture with its mask as YUV4MPEG2 to a descriptor, such as 3, or a named pipe: for a player
    #[arg(long, value_name = "PIPE")]
    pub overlay: Option<Pipe>,
    /// Write each mask as YUV4MPEG2: 0 for the first class, 255 for the last
    #[arg(long, value_name = "PIPE")]
    pub mask: Option<Pipe>,
    /// Use pins of the board file: busy (high during each run), status (high while answers are in time), trigger (a frame
    /// is answered when it is pressed); needs a build with --features hal
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub signals: Vec<Signal>,
    /// Answer pictures of this OpenIGTLink device only [default: the first one that sends any]
    #[cfg(feature = "igtl")]
    #[arg(long, value_name = "NAME")]
    pub igtl_device: Option<String>,
    /// What is sent back over OpenIGTLink
    #[cfg(feature = "igtl")]
    #[arg(long, value_enum, default_value = "all")]
    pub igtl_send: IgtlSend,
    #[command(flatten)]
    pub choices: ChoiceArgs,
    /// Serve counts and times for Prometheus at /metrics: a port of this machine alone, or an address for others too; port
    /// 0 for any that is free
    #[arg(long, value_name = "[ADDRESS:]PORT")]
    pub metrics: Option<Address>,
    /// Serve a page with the picture, the answers and what is wrong, at an address as of --metrics; for other machines
    /// its URL has a secret in it (needs a build with the feature page)
    #[arg(long, value_name = "[ADDRESS:]PORT")]
    pub live_page: Option<Address>,
    /// Accepted for consistency; the output is always JSON lines
    #[arg(long)]
    pub json: bool,
}

impl StreamArgs {
    /// How each picture is turned and cropped.
    pub fn view(&self) -> View {
        View { turn: self.rotate, crop: self.crop }
    }
}

/// What happens, besides a line that says so, when no frame comes or a run does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnStall {
    /// Nothing else
    Report,
    /// The line says that what is on the screen is to be blanked
    Blank,
    /// The program ends with exit code 2, so that its supervisor starts it again
    Exit,
}

/// A pipe to write to.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipe(pub PathBuf);

impl FromStr for Pipe {
    type Err = String;

    /// Reads the number of a descriptor, or a path.
    fn from_str(text: &str) -> Result<Pipe, String> {
        match text.parse::<u32>() {
            Ok(0..=2) => {
                Err(format!("'{text}' is taken for lines and messages: give a descriptor from 3 on"))
            }
            Ok(number) => Ok(Pipe(format!("/dev/fd/{number}").into())),
            Err(_) if text.is_empty() => Err("give a descriptor, such as 3, or a named pipe".into()),
            Err(_) => Ok(Pipe(text.into())),
        }
    }
}

/// What those at the other ends of OpenIGTLink are sent.
#[cfg(feature = "igtl")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IgtlSend {
    /// Lines, masks and states
    All,
    /// Lines (STRING) and states (STATUS)
    Text,
    /// Masks of segmentation heads (IMAGE) and states
    Masks,
    /// Nothing, apart from replies
    None,
}

/// Frames a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(pub f64);

impl FromStr for Rate {
    type Err = String;

    /// Reads `25`, `29.97` or `30000/1001`.
    fn from_str(text: &str) -> Result<Rate, String> {
        let rate = match text.split_once('/') {
            Some((frames, seconds)) => {
                frames.parse().ok().zip(seconds.parse().ok()).map(|(f, s): (f64, f64)| f / s)
            }
            None => text.parse().ok(),
        };
        let rate = rate.filter(|rate| (0.001..=1000.0).contains(rate));
        rate.map(Rate)
            .ok_or_else(|| format!("'{text}' is no rate: give frames a second, as in 25 or 30000/1001"))
    }
}

/// What a camera is to give.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wanted {
    /// V4L2's code.
    pub code: Option<[u8; 4]>,
    pub size: Option<(u32, u32)>,
}

/// Reads `YUYV:640x480`, `MJPG` or `:640x480`.
fn wanted(text: &str) -> Result<Wanted, String> {
    let (code, size) = text.split_once(':').unwrap_or((text, ""));
    let known =
        |code: &str| code.as_bytes().try_into().ok().filter(|code| CameraPixel::of_code(*code).is_some());
    let side = |side: &str| side.parse().ok().filter(|side| *side > 0);
    let sides = |(width, height)| Some((side(width)?, side(height)?));
    let wanted = Wanted { code: known(code), size: size.split_once('x').and_then(sides) };
    if text.is_empty()
        || text.ends_with(':')
        || wanted.code.is_some() == code.is_empty()
        || wanted.size.is_some() == size.is_empty()
    {
        let codes: Vec<_> =
            CameraPixel::codes().map(|code| String::from_utf8_lossy(&code).into_owned()).collect();
        return Err(format!(
            "'{text}' is no format of a camera: give {}, and a size if it matters, as in YUYV:640x480",
            codes.join(", ")
        ));
    }
    Ok(wanted)
}

/// A time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deadline(pub Duration);

impl FromStr for Deadline {
    type Err = String;

    /// Reads [`Milliseconds`] of at most an hour, such as `40`, `40ms` or `33.3`.
    fn from_str(text: &str) -> Result<Deadline, String> {
        let number = text.parse::<Milliseconds>().ok().map(|ms| ms.0).filter(|ms| *ms <= 3.6e6);
        let deadline = number.map(|ms| Deadline(Duration::from_secs_f64(ms / 1e3)));
        deadline.ok_or_else(|| format!("'{text}' is no deadline: give milliseconds, as in 40"))
    }
}

/// Reads a part of a picture, `640x480+80+0`.
fn region(text: &str) -> Result<Region, String> {
    let numbers: Vec<Option<usize>> = text.split(['x', '+']).map(|number| number.parse().ok()).collect();
    let form: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
    match numbers[..] {
        [Some(width), Some(height), Some(left), Some(top)] if form == "x++" && width > 0 && height > 0 => {
            Ok(Region { top, left, height, width })
        }
        _ => Err(format!(
            "'{text}' is no part of a picture: give width, height, left and top, as in 640x480+80+0"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_cameras_are_read() {
        let read = |code: Option<&[u8; 4]>, size| Ok(Wanted { code: code.copied(), size });
        assert_eq!(wanted("YUYV:640x480"), read(Some(b"YUYV"), Some((640, 480))));
        assert_eq!(wanted("MJPG"), read(Some(b"MJPG"), None));
        assert_eq!(wanted(":64x48"), read(None, Some((64, 48))));
        for wrong in
            ["", ":", "YUYV:", "yuyv", "H264:640x480", "YUYV:0x480", "YUYV:640", "YUYV640x480", "640x480"]
        {
            assert!(wanted(wrong).unwrap_err().contains("no format of a camera"), "{wrong}");
        }
    }

    #[test]
    fn rates_deadlines_and_regions_are_read() {
        assert_eq!("30000/1001".parse(), Ok(Rate(30000.0 / 1001.0)));
        assert_eq!("25".parse(), Ok(Rate(25.0)));
        for wrong in ["", "0", "-1", "inf", "nan", "1/0", "1e9", "25fps"] {
            assert!(wrong.parse::<Rate>().unwrap_err().contains("no rate"), "{wrong}");
        }
        assert_eq!("33.5ms".parse(), Ok(Deadline(Duration::from_micros(33500))));
        for wrong in ["", "0", "-5", "1e99", "nan", "ms"] {
            assert!(wrong.parse::<Deadline>().unwrap_err().contains("no deadline"), "{wrong}");
        }
        assert_eq!(region("640x480+80+0"), Ok(Region { top: 0, left: 80, height: 480, width: 640 }));
        for wrong in
            ["", "640x480", "640x480+80", "0x480+0+0", "640x480+80+0+0", "640+480x80+0", "640x480+-1+0"]
        {
            assert!(region(wrong).unwrap_err().contains("no part"), "{wrong}");
        }
    }
}
