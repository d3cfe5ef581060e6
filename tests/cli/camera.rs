//! `stream` on a camera, which is played from files (tests/reference/v4l2_shim.c).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::common::*;
use super::stream::{Bench, Running};

const DEVICE: &str = "/dev/video9";
const SIDE: usize = 48;

/// A camera with a few frames, and the same frames as files that `predict` reads.
struct Shim {
    bench: Bench,
    library: PathBuf,
    frames: PathBuf,
}

impl Shim {
    fn new() -> Shim {
        let bench = Bench::new();
        let (library, frames) = (bench.path("v4l2_shim.so"), bench.path("frames"));
        std::fs::create_dir(&frames).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/v4l2_shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-pthread", "-o"]).arg(&library).arg(source).arg("-ldl");
        assert!(compiler.status().unwrap().success());
        Shim { bench, library, frames }
    }

    /// What the camera gives at its turn `number`.
    fn put(&self, number: usize, bytes: &[u8]) {
        std::fs::write(self.frames.join(format!("{number}.bin")), bytes).unwrap();
    }

    /// The variables that make a camera of this format, with these words of the shim.
    fn variables(&self, format: &str) -> [(&'static str, OsString); 2] {
        let camera = format!("{format} files={}", self.frames.display());
        [("LD_PRELOAD", self.library.clone().into()), ("V4L2_SHIM", camera.into())]
    }

    fn start(&self, format: &str, more: &[&str]) -> Running {
        let variables = self.variables(format);
        let variables: Vec<(&str, &OsStr)> =
            variables.iter().map(|(name, value)| (*name, &**value)).collect();
        self.bench.start_on(&[&[DEVICE, "--policy", "every"], more].concat(), &variables)
    }

    /// What `predict` says of a file.
    fn alone(&self, file: &Path) -> Value {
        let head = self.bench.path("head.safetensors");
        json(&success(&[&"predict", &tiny_model(), &"--head", &head, &file]))["heads"].clone()
    }

    /// What `predict` says of a frame of YUV4MPEG2.
    fn alone_y4m(&self, header: &str, planes: &[u8], colours: &str) -> Value {
        let (file, head) = (self.bench.path("frame.y4m"), self.bench.path("head.safetensors"));
        let header = format!("YUV4MPEG2 W{SIDE} H{SIDE} {header}\nFRAME\n");
        std::fs::write(&file, [header.as_bytes(), planes].concat()).unwrap();
        json(&success(&[&"predict", &tiny_model(), &"--head", &head, &file, &colours]))["heads"].clone()
    }

    /// Why there is no stream.
    fn refused(&self, format: &str, more: &[&str]) -> String {
        let head = self.bench.path("head.safetensors");
        let mut command = program();
        command.arg("stream").arg(tiny_model()).arg("--head").arg(head).arg(DEVICE).args(more);
        let output = command.envs(self.variables(format)).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        error_line(&String::from_utf8(output.stderr).unwrap()).to_owned()
    }
}

/// Luma, Cb and Cr, the last two at half the width and, for 4:2:0, half the height.
fn planes(seed: usize, down: usize) -> [Vec<u8>; 3] {
    let noise = |count: usize, seed: usize| {
        (0..count).map(|i| (((i + seed) * 2654435761 % 4294967296) >> 21) as u8 / 8 + 100).collect()
    };
    let chroma = SIDE * SIDE / 2 / down;
    [noise(SIDE * SIDE, seed), noise(chroma, seed + 7), noise(chroma, seed + 9)]
}

/// Answers are those of `predict` on the same samples, in each format, with rows that are longer than their pixels.
#[test]
fn answers_are_those_of_predict() {
    let shim = Shim::new();
    let padded = |rows: &[u8], row: usize, stride: usize| -> Vec<u8> {
        rows.chunks(row).flat_map(|row| [row, &vec![77; stride - row.len()]].concat()).collect()
    };
    for (format, colours, header) in [
        // Rec. 709 in full range, by the numbers of videodev2.h; and the default, of which a file says nothing.
        ("YUYV:48x48 stride=100 colorspace=3 quantization=1", "--matrix=bt709", "C422 XCOLORRANGE=FULL"),
        ("NV12:48x48 stride=64", "--matrix=bt601", "C420jpeg XCOLORRANGE=LIMITED"),
        ("GREY:48x48", "--matrix=bt601", "Cmono XCOLORRANGE=FULL"),
    ] {
        let mut expected = Vec::new();
        for number in 0..3 {
            let [luma, cb, cr] = planes(31 * number, if format.starts_with("NV12") { 2 } else { 1 });
            let pairs: Vec<u8> = cb.iter().zip(&cr).flat_map(|(&cb, &cr)| [cb, cr]).collect();
            let (bytes, planes) = match &format[..4] {
                "YUYV" => {
                    let rows: Vec<u8> = luma.iter().zip(&pairs).flat_map(|(&y, &c)| [y, c]).collect();
                    (padded(&rows, 2 * SIDE, 100), [luma, cb, cr].concat())
                }
                "NV12" => {
                    ([padded(&luma, SIDE, 64), padded(&pairs, SIDE, 64)].concat(), [luma, cb, cr].concat())
                }
                _ => (luma.clone(), luma),
            };
            shim.put(number, &bytes);
            expected.push(shim.alone_y4m(header, &planes, colours));
        }
        let mut running = shim.start(format, &[]);
        for (number, heads) in expected.iter().enumerate() {
            let line = running.next();
            assert_eq!(line["frame"], number as u64 + 1, "{format}: {line}");
            // Exposed 20 ms before the driver gave it.
            assert!((20.0..10e3).contains(&line["ms"]["age"].as_f64().unwrap()), "{line}");
            // A clip of one frame has the same answer as a picture.
            assert_eq!(line["heads"][0]["probabilities"], heads[0]["probabilities"], "{format}");
        }
        drop(running);
    }
}

#[test]
fn motion_jpeg_is_answered_and_what_the_driver_says_is_told() {
    let shim = Shim::new();
    let mut expected = Vec::new();
    for number in 0..6 {
        let file = shim.bench.path(&format!("{number}.jpg"));
        image::open(shim.bench.file(number)).unwrap().to_luma8().save(&file).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        // A buffer may have anything after the picture.
        shim.put(number, &[&bytes[..], &[0; 99]].concat());
        expected.push(shim.alone(&file));
    }
    let (width, height) = image::image_dimensions(shim.bench.path("0.jpg")).unwrap();
    // The third is damaged, two are dropped before the fourth, and then it goes away for a while.
    let format = format!("MJPG:{width}x{height} error=2 gap=3 unplug=5");
    let mut running = shim.start(&format, &["--stall", "0.1"]);
    let mut answered = Vec::new();
    let mut told = Vec::new();
    while answered.len() < 5 {
        let line = running.next();
        match line["event"].as_str().unwrap() {
            "frame" => answered.push(line["heads"].clone()),
            "lost" => told.push(line["problem"].as_str().unwrap().to_owned()),
            other => told.push(other.to_owned()),
        }
    }
    expected.remove(2);
    assert_eq!(answered, expected);
    let of = |problem: &str| format!("{DEVICE}: {problem}");
    assert_eq!(
        told[..3],
        [
            of("gave a frame that it says is damaged"),
            of("the driver dropped a frame"),
            of("the driver dropped a frame")
        ]
    );
    assert!(told[3].contains("gives no frame (No such device"), "{told:?}");
    assert_eq!(told[4..], ["stalled", "resumed"]);
}

#[test]
fn what_cannot_be_set_is_refused() {
    let shim = Shim::new();
    for (format, more, says) in [
        ("H264:48x48", &[][..], "gives H264, which is not read: ask for MJPG"),
        ("YUYV:48x48 mplane", &[], "multi-planar"),
        ("YUYV:48x48 field=7", &[], "fields one by one"),
        ("YUYV:48x48 colorspace=99", &[], "has a driver that is not understood"),
        ("NV12:48x48 field=4", &[], "interlaced NV12"),
        ("GREY:48x48 quantization=2", &[], "limited range"),
        ("YUYV:4x48", &[], "nothing to see"),
        ("YUYV:48x48", &["--camera", "MJPG"], "gives YUYV:48x48 where MJPG:48x48 was asked for"),
        ("YUYV:48x48", &["--camera", ":64x48"], "gives YUYV:48x48 where YUYV:64x48"),
        ("YUYV:48x48", &["--fps", "25"], "gives 30.00 frames a second and not 25: give --fps 30.00"),
        ("YUYV:48x48", &["--camera", "H264"], "'H264' is no format of a camera"),
    ] {
        let message = shim.refused(format, more);
        assert!(message.contains(says), "{format}: {message}");
    }
    // Without the shim there is no such device.
    let message =
        failure(&[&"stream", &tiny_model(), &"--head", &shim.bench.path("head.safetensors"), &DEVICE]);
    assert!(message.contains("/dev/video9: cannot be opened"), "{message}");
}
