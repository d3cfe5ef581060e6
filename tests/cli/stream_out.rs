//! `stream`: heads that see several frames, and video of what they say.

use std::process::{Command, Stdio};

use super::common::*;
use super::stream::Bench;

/// A clip of grey frames, as YUV4MPEG2.
fn clip(frames: &[image::GrayImage]) -> Vec<u8> {
    let (width, height) = frames[0].dimensions();
    let mut bytes = format!("YUV4MPEG2 W{width} H{height} F25:1 Cmono XCOLORRANGE=FULL\n").into_bytes();
    for frame in frames {
        bytes.extend(b"FRAME\n");
        bytes.extend(frame.as_raw());
    }
    bytes
}

/// The answer to a frame is that of `predict` to the clip of the last three.
#[test]
fn a_window_slides_over_the_stream() {
    let bench = Bench::new();
    let data = bench.path("data");
    let frames: Vec<_> = (0..6).map(|i| image::open(bench.file(i)).unwrap().to_luma8()).collect();
    for kind in ["abmil", "volume"] {
        let head = bench.path("head.safetensors");
        let train: [&dyn AsRef<std::ffi::OsStr>; 10] =
            [&"train", &tiny_model(), &"--data", &data, &"--size", &"48", &"--head", &kind, &"-o", &head];
        success(&train);
        let mut running = bench.start_on(&["-", "--policy", "every", "--window", "3"], &[]);
        running.send(&clip(&frames));
        for number in 0..6 {
            let line = running.next();
            let said = &line["heads"][0];
            if number < 2 {
                assert_eq!(
                    (&said["withheld"], said.get("class")),
                    (&"window not full".into(), None),
                    "{line}"
                );
                continue;
            }
            let file = bench.path("clip.y4m");
            std::fs::write(&file, clip(&frames[number - 2..=number])).unwrap();
            let alone = json(&success(&[&"predict", &tiny_model(), &"--head", &head, &file]));
            assert_eq!(*said, alone["heads"][0], "{kind}, frame {number}");
        }
        running.finish();
    }
    let head = bench.path("head.safetensors");
    let message = failure(&[&"stream", &tiny_model(), &"--head", &head]);
    assert!(message.contains("sees several frames together: say how many with --window"), "{message}");
    success(&[&"train", &tiny_model(), &"--data", &data, &"--size", &"48", &"-o", &head]);
    let message = failure(&[&"stream", &tiny_model(), &"--head", &head, &"--window", &"3"]);
    assert!(message.contains("none of the heads sees several frames"), "{message}");
}

/// Trains a head on pictures of the bench and half of each as its mask; the head takes the place of the other one.
fn trained_to_lay_masks(bench: &Bench) -> std::path::PathBuf {
    let (images, masks) = (bench.path("images"), bench.path("masks"));
    let head = bench.path("head.safetensors");
    std::fs::create_dir(&images).unwrap();
    std::fs::create_dir(&masks).unwrap();
    let mut table = "image,mask,split\n".to_owned();
    for number in 0..6 {
        let name = format!("{number}.png");
        std::fs::copy(bench.file(number), images.join(&name)).unwrap();
        let grey = image::open(bench.file(number)).unwrap().to_luma8();
        let mask = image::GrayImage::from_fn(grey.width(), grey.height(), |x, _| {
            image::Luma([if x > grey.width() / 2 { 255 } else { 0 }])
        });
        mask.save(masks.join(&name)).unwrap();
        let split = if number < 4 { "train" } else { "val" };
        table += &format!("images/{name},masks/{name},{split}\n");
    }
    let csv = bench.path("data.csv");
    std::fs::write(&csv, table).unwrap();
    success(&[
        &"train",
        &tiny_model(),
        &"--data",
        &csv,
        &"--size",
        &"48",
        &"--head",
        &"segment",
        &"-o",
        &head,
    ]);
    head
}

/// Masks and overlays are those that `predict` writes of the same pictures.
#[test]
fn masks_and_overlays_are_written_as_video() {
    let bench = Bench::new();
    let head = trained_to_lay_masks(&bench);
    let images = bench.path("images");
    let [overlay, mask] = ["overlay.y4m", "mask.y4m"].map(|name| bench.path(name));
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("exec \"$@\" 3>\"$OVERLAY\" 4>\"$MASK\"").arg("sh");
    shell.env("OVERLAY", &overlay).env("MASK", &mask).arg(program().get_program());
    shell.arg("stream").arg(tiny_model()).arg("--head").arg(&head);
    shell.args(["--policy", "every", "--overlay", "3", "--mask", "4", "--stdin", "png", "-"]);
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for number in 0..4 {
        std::io::Write::write_all(&mut input, &std::fs::read(bench.file(number)).unwrap()).unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).lines().count() == 6);
    let folder = bench.path("alone");
    let mut alone: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"predict", &"--head", &head, &"--masks", &folder];
    let (model, files) = (tiny_model(), [0, 1, 2, 3].map(|number| images.join(format!("{number}.png"))));
    alone.extend([&"--overlays" as &dyn AsRef<std::ffi::OsStr>, &folder, &model]);
    alone.extend(files.iter().map(|file| file as &dyn AsRef<std::ffi::OsStr>));
    let lines = success(&alone);
    let frames = |path: &std::path::Path| -> Vec<microraptor::Image> {
        let mut scan = microraptor::input::Scan::open(path, &Default::default()).unwrap();
        std::iter::from_fn(|| scan.next()).map(Result::unwrap).collect()
    };
    let (overlays, masks) = (frames(&overlay), frames(&mask));
    assert_eq!((overlays.len(), masks.len()), (4, 4));
    for (number, line) in lines.lines().enumerate() {
        let said = &json(line)["heads"][0];
        let read = |kind: &str| image::open(said[kind].as_str().unwrap()).unwrap();
        assert_eq!(masks[number].pixels().to_luma8(), read("mask").to_luma8());
        // Luma and chroma are rounded, when written and when read.
        let (found, expected) = (overlays[number].pixels().to_rgb8(), read("overlay").to_rgb8());
        assert!(found.iter().zip(expected.iter()).all(|(a, b)| a.abs_diff(*b) <= 2), "frame {number}");
    }
}

/// A head that lays no masks in the place of one that does must not look as if nothing was found.
#[test]
fn video_ends_with_the_head_that_lays_masks() {
    use rustix::process::{Pid, Signal, kill_process};
    let bench = Bench::new();
    let linear = std::fs::read(bench.path("head.safetensors")).unwrap();
    let head = trained_to_lay_masks(&bench);
    let pipe = bench.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap().len()
    });
    let mut running = bench.start_on(&["-", "--stdin", "png", "--mask", pipe.to_str().unwrap()], &[]);
    let picture = std::fs::read(bench.file(0)).unwrap();
    running.send(&picture);
    assert_eq!(running.next()["heads"][0]["kind"], "segment");
    std::fs::write(&head, linear).unwrap();
    kill_process(Pid::from_raw(running.id() as i32).unwrap(), Signal::HUP).unwrap();
    assert_eq!(running.next()["event"], "reloaded");
    running.send(&picture);
    assert_eq!(running.next()["heads"][0]["kind"], "linear");
    let (_, code, errors) = running.finish();
    assert!(code == 0 && errors.contains("none of the heads lays masks any more"), "{errors}");
    let (width, height) = image::image_dimensions(bench.file(0)).unwrap();
    let length = reader.join().unwrap();
    // One picture, with the header of the stream.
    assert!((1..200).contains(&(length - (width * height) as usize)), "{length}");
}

/// A named pipe that nobody reads holds nothing up, and the program can be ended.
#[test]
fn a_pipe_without_a_reader_holds_nothing_up() {
    let bench = Bench::new();
    trained_to_lay_masks(&bench);
    let pipe = bench.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut running = bench.start_on(&["-", "--stdin", "png", "--overlay", pipe.to_str().unwrap()], &[]);
    for number in 0..3 {
        running.send(&std::fs::read(bench.file(number)).unwrap());
        assert_eq!(running.next()["event"], "frame");
    }
    let (_, code, errors) = running.finish();
    assert!(code == 0 && errors.contains("2 pictures were left out"), "{errors}");
}

#[test]
fn video_goes_into_pipes_only() {
    let bench = Bench::new();
    let head = bench.path("head.safetensors");
    let refused = |pipe: &str| failure(&[&"stream", &tiny_model(), &"--head", &head, &"--overlay", &pipe]);
    assert!(refused("3").contains("none of the heads lays masks"));
    trained_to_lay_masks(&bench);
    assert!(refused("99").contains("--overlay /dev/fd/99: is not open"));
    assert!(refused("plain.y4m").contains("is no pipe"));
    let twice = failure(&[&"stream", &tiny_model(), &"--head", &head, &"--overlay", &"3", &"--mask", &"3"]);
    assert!(twice.contains("both go into the same pipe"), "{twice}");
    assert!(refused("1").contains("give a descriptor from 3 on"));
}
