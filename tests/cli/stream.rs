//! `stream`: frames that come one by one, in time or not, whole or not.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::common::*;

/// A head for two kinds of texture, and pictures of these.
pub struct Bench {
    folder: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        let folder = tempdir().unwrap();
        let (data, head) = (folder.path().join("data"), folder.path().join("head.safetensors"));
        write_dataset(&data, &["columns", "rows"], 6);
        success(&[&"train", &tiny_model(), &"--data", &data, &"--size", &"48", &"-o", &head]);
        Bench { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A picture file; every one differs.
    pub fn picture(&self, number: usize) -> Vec<u8> {
        std::fs::read(self.file(number)).unwrap()
    }

    pub fn file(&self, number: usize) -> PathBuf {
        self.path("data").join(["columns", "rows"][number % 2]).join(format!("{:02}.png", number / 2 % 6))
    }

    /// Starts the program with frames of PNG on standard input.
    pub fn start(&self, more: &[&str]) -> Running {
        let mut arguments = vec!["-", "--stdin", "png"];
        arguments.extend(more);
        self.start_on(&arguments, &[])
    }

    pub fn start_on(&self, more: &[&str], variables: &[(&str, &OsStr)]) -> Running {
        let mut command = program();
        command.arg("stream").arg(tiny_model()).arg("--head").arg(self.path("head.safetensors")).args(more);
        command.envs(variables.iter().copied());
        Bench::begin(command)
    }

    /// Starts `command`, a stream.
    pub fn begin(mut command: std::process::Command) -> Running {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, lines) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()).lines());
        let mut running = Running { child, input, lines };
        assert_eq!(running.next()["event"], "started");
        running
    }
}

pub struct Running {
    pub child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    }

    /// The next line, which is as the schema says.
    pub fn next(&mut self) -> Value {
        json(&self.next_text())
    }

    /// Its text.
    pub fn next_text(&mut self) -> String {
        let text = self.lines.next().expect("another line").unwrap();
        let line = json(&text);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/stream-schema.json");
        let schema = json(&std::fs::read_to_string(path).unwrap());
        let event = line["event"].as_str().unwrap();
        check_members(&line, &schema["$defs"][event], &schema, event);
        text
    }

    /// Ends the input; the lines that are left, the exit code and standard error.
    pub fn finish(mut self) -> (Vec<Value>, i32, String) {
        drop(self.input.take());
        let mut lines = Vec::new();
        loop {
            let line = self.next();
            lines.push(line);
            if lines[lines.len() - 1]["event"] == "ended" {
                break;
            }
        }
        assert!(self.lines.next().is_none(), "ended is the last line");
        let output = self.child.wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        (lines, output.status.code().unwrap(), errors)
    }
}

/// The numbers of the last line: frames, answered, withheld, dropped, lost.
fn counts(lines: &[Value]) -> [u64; 5] {
    let last = &lines[lines.len() - 1];
    ["frames", "answered", "withheld", "dropped", "lost"].map(|name| last[name].as_u64().unwrap())
}

#[test]
fn answers_are_those_of_predict_and_come_before_the_next_frame() {
    let bench = Bench::new();
    let mut running = bench.start(&["--policy", "every", "--deadline", "60000"]);
    let head = bench.path("head.safetensors");
    for number in 0..5 {
        running.send(&bench.picture(number));
        // No other frame is sent before this one is answered.
        let line = running.next();
        let alone = json(&success(&[&"predict", &tiny_model(), &"--head", &head, &bench.file(number)]));
        assert_eq!(line["heads"], alone["heads"]);
        assert_eq!((&line["frame"], &line["late"]), (&(number as u64 + 1).into(), &false.into()));
        assert_eq!(line["picture"], "usual");
    }
    let (lines, code, errors) = running.finish();
    assert_eq!((counts(&lines), code, errors.as_str()), ([5, 5, 0, 0, 0], 0, ""));
    assert_eq!(lines[0]["reason"], "end of source");
}

#[test]
fn each_kind_of_trouble_has_a_line_and_the_rest_is_answered() {
    let bench = Bench::new();
    let picture = |side: u32, value: u8| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let grey = image::GrayImage::from_pixel(side, side, image::Luma([value]));
        grey.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    let mut running = bench.start(&["--policy", "every"]);
    running.send(&bench.picture(0));
    assert_eq!(running.next()["event"], "frame");
    // Half a picture, and a whole one that ends the search for it.
    running.send(&bench.picture(1)[..300]);
    running.send(&bench.picture(2));
    let line = running.next();
    assert_eq!((&line["event"], &line["frame"]), (&"lost".into(), &2.into()), "{line}");
    let line = running.next();
    assert_eq!(
        (&line["event"], &line["frame"], &line["picture"]),
        (&"frame".into(), &3.into(), &"usual".into())
    );
    running.send(&picture(64, 120));
    assert_eq!(running.next()["picture"], "resized");
    for (value, name) in [(3, "black"), (254, "saturated")] {
        running.send(&picture(64, value));
        let line = running.next();
        assert_eq!((&line["picture"], &line["withheld"]), (&name.into(), &name.into()));
        assert_eq!(line["heads"].as_array().unwrap().len(), 0);
    }
    // It breaks off.
    running.send(&bench.picture(3)[..200]);
    let (lines, code, errors) = running.finish();
    assert_eq!((counts(&lines), code), ([6, 3, 2, 0, 1], 2), "{lines:?}");
    assert_eq!(error_line(&errors), "standard input: ends within frame 7: check what writes it");
    assert!(lines[0]["problem"].as_str().unwrap().contains("ends within frame 7"));
}

#[test]
fn a_source_that_stalls_is_said_once_and_may_end_the_program() {
    let bench = Bench::new();
    let mut running = bench.start(&["--stall", "0.2", "--on-stall", "blank", "--smooth", "3"]);
    running.send(&bench.picture(0));
    assert_eq!(running.next()["event"], "frame");
    let line = running.next();
    assert_eq!((&line["event"], &line["blank"]), (&"stalled".into(), &true.into()));
    assert!(line["seconds"].as_f64().unwrap() >= 0.2);
    std::thread::sleep(Duration::from_millis(500));
    running.send(&bench.picture(1));
    assert_eq!(running.next()["event"], "resumed");
    assert_eq!(running.next()["frame"], 2);
    drop(running.finish());
    let running = bench.start(&["--stall", "0.2", "--on-stall", "exit"]);
    let output = running.child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(error_line(&errors).starts_with("standard input: no frame has come for 0."), "{errors}");
}

#[test]
fn probabilities_are_averaged() {
    let bench = Bench::new();
    let answers = |smooth: &str| -> Vec<f64> {
        let mut running = bench.start(&["--policy", "every", "--smooth", smooth]);
        (0..4).for_each(|number| running.send(&bench.picture(number)));
        let (lines, ..) = running.finish();
        let frames = lines.iter().filter(|line| line["event"] == "frame");
        frames.map(|line| line["heads"][0]["probabilities"]["rows"].as_f64().unwrap()).collect()
    };
    let (single, smooth) = (answers("1"), answers("2"));
    assert!((single[0] - single[1]).abs() > 0.1, "the pictures must differ: {single:?}");
    assert_eq!(smooth[0], single[0]);
    for n in 1..4 {
        assert_eq!(smooth[n], (single[n - 1] + single[n]) / 2.0);
    }
}

/// A clip is played at its rate or at another, and what its frames are called on is what `predict` says of each.
#[test]
fn a_clip_is_played_at_its_rate() {
    let bench = Bench::new();
    let (clip, head) = (bench.path("clip.y4m"), bench.path("head.safetensors"));
    let write = |rate: &str| {
        let mut bytes = format!("YUV4MPEG2 W40 H36{rate} Ip Cmono XCOLORRANGE=FULL\n").into_bytes();
        for number in 0..6 {
            bytes.extend(b"FRAME\n");
            bytes.extend(image::open(bench.file(number)).unwrap().into_luma8().into_raw());
        }
        std::fs::write(&clip, bytes).unwrap();
    };
    let played = |more: &[&dyn AsRef<OsStr>]| -> (Vec<Value>, f64) {
        let first: [&dyn AsRef<OsStr>; 5] = [&"stream", &tiny_model(), &clip, &"--head", &head];
        let lines: Vec<Value> = success(&[&first, more].concat()).lines().map(json).collect();
        let exposed = |line: &Value| line["exposed"].as_f64();
        let times: Vec<f64> = lines.iter().filter_map(exposed).collect();
        let period = (times[times.len() - 1] - times[0]) / (times.len() - 1) as f64;
        (lines, period)
    };
    write(" F40:1");
    let (lines, period) = played(&[&"--policy", &"every"]);
    assert_eq!(counts(&lines), [6, 6, 0, 0, 0]);
    // Exposures are told by two readings of the clock, which may be set in between.
    assert!((period - 0.025).abs() < 0.002, "{period}");
    for (number, line) in lines[1..7].iter().enumerate() {
        let alone = json(&success(&[&"predict", &tiny_model(), &"--head", &head, &bench.file(number)]));
        assert_eq!(line["heads"], alone["heads"]);
    }
    let (lines, period) = played(&[&"--policy", &"every", &"--fps", &"200"]);
    assert!((period - 0.005).abs() < 0.002, "{period}");
    assert_eq!(counts(&lines), [6, 6, 0, 0, 0]);
    let (lines, _) = played(&[&"--policy", &"skip:2", &"--fps", &"10"]);
    assert_eq!(counts(&lines), [6, 2, 0, 4, 0]);
    write("");
    let message = failure(&[&"stream", &tiny_model(), &clip, &"--head", &head]);
    assert!(message.contains("clip.y4m") && message.contains("--fps"), "{message}");
}

#[test]
fn files_that_come_into_a_folder_are_answered() {
    let bench = Bench::new();
    let watched = bench.path("watched");
    std::fs::create_dir(&watched).unwrap();
    let mut running = bench.start_on(&[watched.to_str().unwrap()], &[]);
    std::fs::write(watched.join("a.png"), bench.picture(0)).unwrap();
    let line = running.next();
    assert_eq!(line["file"], watched.join("a.png").to_str().unwrap());
    std::fs::write(watched.join("b.png"), &bench.picture(0)[..80]).unwrap();
    let line = running.next();
    assert_eq!(line["event"], "lost");
    assert!(line["problem"].as_str().unwrap().contains("b.png"), "{line}");
    std::fs::remove_dir_all(&watched).unwrap();
    let (lines, code, _) = running.finish();
    assert_eq!((counts(&lines), code), ([2, 1, 0, 0, 1], 2));
}

/// Signals: another head between two frames, a bad one that leaves the old one, and an end that is not an error.
#[cfg(unix)]
#[test]
fn signals_reload_and_end() {
    use rustix::process::{Pid, Signal, kill_process};
    if emulated() {
        return; // The signal would reach the emulator.
    }
    let bench = Bench::new();
    let head = bench.path("head.safetensors");
    let mut running = bench.start(&["--policy", "every"]);
    let pid = Pid::from_child(&running.child);
    running.send(&bench.picture(0));
    let before = running.next()["heads"][0]["sha256"].clone();
    std::fs::write(&head, "no head").unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let line = running.next();
    assert_eq!(line["event"], "reload-failed");
    assert!(line["problem"].as_str().unwrap().contains("head.safetensors"), "{line}");
    running.send(&bench.picture(1));
    assert_eq!(running.next()["heads"][0]["sha256"], before);
    let data = bench.path("data");
    success(&[&"train", &tiny_model(), &"--data", &data, &"--size", &"64", &"-o", &head]);
    kill_process(pid, Signal::HUP).unwrap();
    assert_eq!(running.next()["event"], "reloaded");
    running.send(&bench.picture(2));
    let line = running.next();
    assert_ne!(line["heads"][0]["sha256"], before);
    let alone = json(&success(&[&"predict", &tiny_model(), &"--head", &head, &bench.file(2)]));
    assert_eq!(line["heads"], alone["heads"]);
    kill_process(pid, Signal::TERM).unwrap();
    let line = running.next();
    assert_eq!((&line["event"], &line["reason"]), (&"ended".into(), &"signal".into()));
    assert_eq!(counts(&[line]), [3, 3, 0, 0, 0]);
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

/// Lines that nobody reads hold everything up: the program ends, and does not wait to say so.
#[test]
fn a_reader_that_does_not_read_is_noticed() {
    let bench = Bench::new();
    let mut running = bench.start(&["--policy", "every", "--stall", "0.3", "--on-stall", "exit"]);
    let mut input = running.input.take().unwrap();
    let picture = bench.picture(0);
    // More than the pipes of input and output hold; at some time the program is gone.
    let writer = std::thread::spawn(move || while input.write_all(&picture).is_ok() {});
    assert_eq!(running.child.wait().unwrap().code(), Some(2));
    writer.join().unwrap();
    let mut errors = String::new();
    std::io::Read::read_to_string(&mut running.child.stderr.take().unwrap(), &mut errors).unwrap();
    assert!(error_line(&errors).contains("nobody has read its line"), "{errors}");
}

/// Damaged pictures are no sign of life.
#[test]
fn a_source_that_gives_nothing_readable_has_stalled() {
    let bench = Bench::new();
    let mut running = bench.start(&["--policy", "every", "--stall", "0.3"]);
    running.send(&bench.picture(0));
    assert_eq!(running.next()["event"], "frame");
    let damaged = [&bench.picture(1)[..200], &bench.picture(2)[..200]].concat();
    let mut lost = 0;
    loop {
        running.send(&damaged);
        std::thread::sleep(Duration::from_millis(20));
        let line = running.next();
        if line["event"] == "stalled" {
            break;
        }
        assert_eq!(line["event"], "lost", "{line}");
        lost += 1;
        assert!(lost < 1000, "it is never said");
    }
    drop(running);
}

/// One signal is enough, also if nobody reads.
#[test]
fn a_signal_ends_a_stream_that_nobody_reads() {
    use rustix::process::{Pid, Signal, kill_process};
    let bench = Bench::new();
    let mut running = bench.start(&["--policy", "every", "--stall", "0"]);
    let mut input = running.input.take().unwrap();
    let picture = bench.picture(0);
    let (send, full) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        while input.write_all(&picture).is_ok() {
            let _ = send.send(());
        }
    });
    // Nothing goes in any more: both pipes are full.
    while full.recv_timeout(Duration::from_secs(2)).is_ok() {}
    kill_process(Pid::from_raw(running.child.id() as i32).unwrap(), Signal::TERM).unwrap();
    assert_eq!(running.child.wait().unwrap().code(), Some(2));
    writer.join().unwrap();
}

#[test]
fn a_source_without_a_frame_that_can_be_read_is_a_failure() {
    let bench = Bench::new();
    for (bytes, problem) in
        [(&b"no picture"[..], "none of its 1 frames could be read"), (b"", "holds no picture")]
    {
        let mut running = bench.start(&[]);
        running.send(bytes);
        let (lines, code, errors) = running.finish();
        assert_eq!((code, &lines[lines.len() - 1]["reason"]), (2, &"error".into()));
        assert!(error_line(&errors).contains(problem), "{errors}");
    }
}

#[test]
fn nobody_who_wants_the_lines_ends_the_stream_without_a_failure() {
    let bench = Bench::new();
    let Running { mut child, input, lines } = bench.start(&["--policy", "every"]);
    drop(lines);
    let (mut input, picture) = (input.unwrap(), bench.picture(0));
    while child.try_wait().unwrap().is_none() {
        // The program may be gone before it has taken the whole picture.
        let _ = input.write_all(&picture);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// What systemd hears (sd_notify(3)): a datagram for each message.
#[cfg(target_os = "linux")]
#[test]
fn a_supervisor_is_told() {
    use std::os::unix::net::UnixDatagram;
    let bench = Bench::new();
    let socket = bench.path("notify");
    let supervisor = UnixDatagram::bind(&socket).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut running = bench.start_on(&["-", "--stdin", "png"], &[("NOTIFY_SOCKET", socket.as_os_str())]);
    let heard = || {
        let mut bytes = [0; 512];
        let length = supervisor.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert_eq!(heard().trim(), "READY=1");
    running.send(&bench.picture(0));
    running.next();
    let first = heard();
    assert!(first.starts_with("WATCHDOG=1\nSTATUS=") && first.contains("frames answered"), "{first}");
    assert!(heard().contains("STATUS=1 frames answered, 0 of them late"));
    drop(running.finish());
    let last = std::iter::repeat_with(heard).find(|message| !message.starts_with("WATCHDOG")).unwrap();
    assert_eq!(last.trim(), "STOPPING=1");
}

#[test]
fn what_cannot_be_streamed_is_refused() {
    let bench = Bench::new();
    let head = bench.path("head.safetensors");
    let refused = |more: &[&dyn AsRef<OsStr>]| {
        let first: [&dyn AsRef<OsStr>; 4] = [&"stream", &"--head", &head, &tiny_model()];
        failure(&[&first, more].concat())
    };
    let data = bench.path("data");
    let other: [&dyn AsRef<OsStr>; 3] = [&data, &"--fps", &"20"];
    for (more, says) in [
        (&other[..], "--fps: the files of a watched folder"),
        (&[&"-", &"--fps", &"20"], "--fps: standard input comes at its own rate"),
        (&[&"-", &"--crop", &"10x10"], "no part of a picture"),
        (&[&"-", &"--policy", &"oldest"], "no policy"),
        (&[&"-", &"--crop-us"], "no ultrasound regions"),
        (&[&Path::new("absent.png"), &"--fps", &"20"], "absent.png"),
    ] as [(&[&dyn AsRef<OsStr>], &str); 6]
    {
        let message = refused(more);
        assert!(message.contains(says), "{says}: {message}");
    }
    let bag = bench.path("bag.safetensors");
    success(&[&"train", &tiny_model(), &"--data", &data, &"--size", &"48", &"--head", &"abmil", &"-o", &bag]);
    let message = failure(&[&"stream", &tiny_model(), &"--head", &bag]);
    assert!(message.contains("sees several frames together"), "{message}");
}

/// A part of a turned picture is what `predict` sees of a file with just these pixels.
#[test]
fn pictures_are_turned_and_cropped() {
    let bench = Bench::new();
    let head = bench.path("head.safetensors");
    let picture = image::open(bench.file(3)).unwrap();
    let part = bench.path("part.png");
    picture.rotate90().crop_imm(2, 4, 30, 32).save(&part).unwrap();
    let mut running = bench.start(&["--rotate", "90", "--crop", "30x32+2+4"]);
    running.send(&bench.picture(3));
    let alone = json(&success(&[&"predict", &tiny_model(), &"--head", &head, &part]));
    assert_eq!(running.next()["heads"][0]["probabilities"], alone["heads"][0]["probabilities"]);
    running.finish();
}

/// A port of this machine that nobody uses.
#[cfg(feature = "igtl")]
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A picture that pyigtl packed is answered on the connection that it came on; tests/reference/igtl.py compares more.
#[cfg(feature = "igtl")]
#[test]
fn pictures_of_openigtlink_are_answered_there() {
    use std::io::Read;
    let bench = Bench::new();
    let source = format!("igtl-listen://:{}", free_port());
    let mut running = bench.start_on(&[&source, "--stall", "0"], &[]);
    let mut peer = std::net::TcpStream::connect(source.replace("igtl-listen://", "127.0.0.1")).unwrap();
    let golden = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/igtl");
        std::fs::read(format!("{folder}/{name}.igtl")).unwrap()
    };
    peer.write_all(&golden("volume")).unwrap();
    let line = running.next();
    assert!(line["problem"].as_str().unwrap().contains("10x8x3: send single pictures"), "{line}");
    peer.write_all(&golden("grey")).unwrap();
    let line = running.next();
    assert_eq!((&line["event"], &line["frame"]), (&"frame".into(), &2.into()), "{line}");
    // Messages until the one about the frame: their types and bodies.
    let mut kinds = Vec::new();
    loop {
        let mut header = [0; 58];
        peer.read_exact(&mut header).unwrap();
        let mut body = vec![0; u64::from_be_bytes(header[42..50].try_into().unwrap()) as usize];
        peer.read_exact(&mut body).unwrap();
        let kind = String::from_utf8(header[2..14].to_vec()).unwrap();
        kinds.push(kind.trim_end_matches('\0').to_owned());
        if kinds[kinds.len() - 1] == "STRING" {
            let sent = json(std::str::from_utf8(&body[4..]).unwrap());
            if sent["event"] == "frame" {
                assert_eq!(sent, line);
                break;
            }
        }
    }
    assert_eq!(kinds, ["STRING", "STRING", "STATUS", "STRING"], "started, lost, OK, frame");
    running.child.kill().unwrap();
    running.child.wait().unwrap();
}

/// What is wrong with an address or the options for it is said at once.
#[test]
fn openigtlink_that_cannot_be_opened_is_an_error() {
    let bench = Bench::new();
    let head = bench.path("head.safetensors");
    let wrong = |arguments: &[&str]| {
        let mut command = program();
        command.arg("stream").arg(tiny_model()).arg("--head").arg(&head).args(arguments);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    if !cfg!(feature = "igtl") {
        let message = wrong(&["igtl://127.0.0.1"]);
        assert!(message.contains("built without the feature igtl"), "{message}");
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("igtl-listen://:{}", listener.local_addr().unwrap().port());
    let folder = bench.path("data").display().to_string();
    for (arguments, problem) in [
        (&["igtl://"][..], "is no address"),
        (&[&taken], "give an address of this machine and a free port"),
        (&["igtl://127.0.0.1", "--fps", "30"], "--fps"),
        (&[&folder, "--igtl-device", "Probe"], "no OpenIGTLink source"),
    ] {
        let message = wrong(arguments);
        assert!(message.starts_with("error: ") && message.contains(problem), "{message}");
    }
}
