//! Inner and outer contours of masks, from `train` to every answer.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::common::*;

/// Pictures of bright rectangles whose masks are not where they seem to be: two pixels off, one way or the other. Every
/// tenth has none.
struct Bench {
    folder: TempDir,
}

const SIZE: (usize, usize) = (48, 40);

impl Bench {
    fn new() -> Bench {
        let folder = tempdir().unwrap();
        let mut csv = String::from("image,mask\n");
        for i in 0..60 {
            let (top, left) = ((i * 7) % 18 + 2, (i * 11) % 24 + 2);
            let inside = |p: usize, off: usize| {
                let (y, x) = (p / SIZE.0 + 2, p % SIZE.0 + 2);
                i % 10 != 9
                    && (top + off..top + off + 18).contains(&y)
                    && (left + off..left + off + 20).contains(&x)
            };
            let noise = |p: usize| ((p * 7919 + i * 104_729) % 53) as u8;
            let pixels = SIZE.0 * SIZE.1;
            let save = |name: &str, pixels: Vec<u8>| {
                let (w, h) = (SIZE.0 as u32, SIZE.1 as u32);
                image::save_buffer(folder.path().join(name), &pixels, w, h, image::ColorType::L8).unwrap();
            };
            let picture = (0..pixels).map(|p| noise(p) + if inside(p, 2) { 180 } else { 20 });
            save(&format!("{i}.png"), picture.collect());
            let mask = (0..pixels).map(|p| if inside(p, i % 3 + 1) { 255 } else { 0 });
            save(&format!("{i}-mask.png"), mask.collect());
            csv += &format!("{i}.png,{i}-mask.png\n");
        }
        std::fs::write(folder.path().join("masks.csv"), csv).unwrap();
        Bench { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(&self, head: &str, more: &[&str]) -> Vec<std::ffi::OsString> {
        let mut all: Vec<std::ffi::OsString> = vec!["train".into(), tiny_model().into(), "--data".into()];
        all.extend([self.path("masks.csv").into(), "--size".into(), "128".into(), "-o".into()]);
        all.extend([self.path(head).into(), "--json".into(), "--head".into(), "segment".into()]);
        all.extend(["--cache".into(), self.path("cache").into()]);
        all.extend(more.iter().map(|&more| more.into()));
        all
    }

    fn train(&self, head: &str, more: &[&str]) -> Value {
        json(&success(&self.arguments(head, more).iter().map(|a| a as _).collect::<Vec<_>>()))
    }

    fn refused(&self, more: &[&str]) -> String {
        let message = failure(&self.arguments("x", more).iter().map(|a| a as _).collect::<Vec<_>>());
        assert!(!self.path("x").exists());
        message
    }

    fn predict(&self, head: &str, more: &[&dyn AsRef<OsStr>]) -> Value {
        let (head, picture, model) = (self.path(head), self.path("31.png"), tiny_model());
        let mut all: Vec<&dyn AsRef<OsStr>> = vec![&"predict", &model, &"--head", &head, &picture];
        all.extend(more);
        let line = json(&success(&all));
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/output-schema.json");
        let schema = json(&std::fs::read_to_string(schema).unwrap());
        check_members(&line, &schema, &schema, "line");
        line["heads"][0].clone()
    }
}

/// Whether each pixel of the mask at `path` is white.
fn white(path: &Value) -> Vec<bool> {
    let mask = image::open(Path::new(path.as_str().unwrap())).unwrap().to_luma8();
    assert_eq!((mask.width() as usize, mask.height() as usize), SIZE);
    mask.pixels().map(|p| p.0[0] == 255).collect()
}

const SCORES: [&str; 6] = ["--coverage", "0.8", "--set-aside", "0.4", "--contour-share", "0.9"];

#[test]
fn contours_are_learned_drawn_and_measured() {
    let bench = Bench::new();
    let report = bench.train("head", &SCORES);
    let contours = &report["contours"];
    assert_eq!((&contours["scores"], &contours["guarantee"]), (&24.into(), &"finite-sample".into()));
    assert_eq!((&contours["coverage"], &contours["share"]), (&0.8.into(), &0.9.into()));
    let outer = contours["outer"].as_f64().unwrap();
    assert!(outer < contours["inner"].as_f64().unwrap(), "{contours}");
    for region in ["outer_region", "inner_region"] {
        let (held, images) = (&contours[region]["held"], &contours["images"]);
        let share = held.as_f64().unwrap() / images.as_f64().unwrap();
        assert_eq!(contours[region]["measured"], share);
    }
    let (masks, overlays) = (bench.path("masks"), bench.path("overlays"));
    let said = bench.predict("head", &[&"--masks", &masks, &"--overlays", &overlays]);
    assert_eq!(listing(&masks), ["31.inner.png", "31.outer.png", "31.png"]);
    let [inner, mask, outer] = ["inner", "mask", "outer"].map(|name| white(&said[name]));
    assert!(inner.iter().zip(&mask).zip(&outer).all(|((inner, mask), outer)| inner <= mask && mask <= outer));
    let count = |region: &[bool]| region.iter().filter(|&&there| there).count();
    assert_eq!(said["contours"]["inner"]["pixels"], count(&inner));
    assert_eq!(said["contours"]["outer"]["pixels"], count(&outer));
    assert_eq!(said["areas"]["foreground"]["pixels"], count(&mask));
    assert!(0 < count(&inner) && count(&inner) < count(&mask) && count(&mask) < count(&outer), "{said}");
    // Sky blue just outside of the outer region, yellow along the inside of the inner one.
    let drawn = image::open(said["overlay"].as_str().unwrap()).unwrap().to_rgb8();
    let at = |i: usize| drawn.get_pixel((i % SIZE.0) as u32, (i / SIZE.0) as u32).0;
    let edge = |region: &[bool], there: bool| {
        let near = |i: usize| [i - 1, i + 1].iter().any(|&j| region[j] != there);
        (0..region.len())
            .filter(|&i| (1..SIZE.0 - 1).contains(&(i % SIZE.0)))
            .filter(|&i| region[i] == there && near(i))
            .map(at)
            .collect::<Vec<_>>()
    };
    assert!(edge(&outer, false).iter().all(|pixel| *pixel == [86, 180, 233]));
    assert!(edge(&inner, true).iter().all(|pixel| *pixel == [240, 228, 66]));
    // More coverage, contours further apart.
    let wide = bench.predict("head", &[&"--coverage", &"0.95"]);
    let pixels = |said: &Value, region: &str| said["contours"][region]["pixels"].as_u64().unwrap();
    assert!(pixels(&wide, "outer") >= pixels(&said, "outer"));
    assert!(pixels(&wide, "inner") <= pixels(&said, "inner"));
    // `evaluate` draws the same split again, and `stream` says the same of a frame.
    let (model, head, data) = (tiny_model(), bench.path("head"), bench.path("masks.csv"));
    let again = json(&success(&[&"evaluate", &model, &"--head", &head, &"--data", &data, &"--json"]));
    assert_eq!(again["contours"], *contours);
    let text = success(&[&"evaluate", &model, &"--head", &head, &"--data", &data, &"--coverage", &"0.5"]);
    assert!(
        text.contains("contours at coverage 0.5, by 24 images") && text.contains("outer contour"),
        "{text}"
    );
    if cfg!(target_os = "linux") {
        let mut stream = program();
        stream.arg("stream").arg(&model).arg("--head").arg(&head).args(["-", "--stdin", "png"]);
        let output = stream.stdin(std::fs::File::open(bench.path("31.png")).unwrap()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let frame = text.lines().map(json).find(|line| line["event"] == "frame").expect("a frame");
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/stream-schema.json");
        let schema = json(&std::fs::read_to_string(schema).unwrap());
        check_members(&frame["heads"][0], &schema["$defs"]["head"], &schema, "head");
        assert_eq!(frame["heads"][0]["contours"], said["contours"], "{frame}");
    }
}

#[test]
fn what_contours_cannot_promise_is_refused() {
    let bench = Bench::new();
    for (more, says) in [
        (&["--coverage", "0.9"][..], "--set-aside SHARE"),
        (&["--coverage", "0.99", "--set-aside", "0.4"], "needs 99 images"),
        (&["--coverage", "0.8", "--set-aside", "0.4", "--contour-share", "2"], "a contour's share of 2"),
        (&["--calibrate", "--set-aside", "0.4"], "calibration: not for a head of kind segment"),
        (&["--held-out", "x.csv"], "--held-out"),
        (&["--contour-share", "0.9"], "--set-aside"),
    ] {
        let message = bench.refused(more);
        assert!(message.contains(says), "{more:?}: {message}");
    }
    bench.train("plain", &["--epochs", "2"]);
    let (head, picture) = (bench.path("plain"), bench.path("31.png"));
    let answer = |command: &str| {
        failure(&[&command, &tiny_model(), &"--head", &head, &picture, &"--coverage", &"0.8"])
    };
    for command in ["predict", "stream"] {
        let message = answer(command);
        assert!(message.contains("no scores for contours"), "{command}: {message}");
    }
    // A picture that would be written over is none of the inputs.
    bench.train("head", &["--coverage", "0.8", "--set-aside", "0.4", "--epochs", "2"]);
    let masks = bench.path("masks");
    std::fs::create_dir(&masks).unwrap();
    let input = masks.join("31.inner.png");
    std::fs::copy(&picture, &input).unwrap();
    let head = bench.path("head");
    let message =
        failure(&[&"predict", &tiny_model(), &"--head", &head, &picture, &input, &"--masks", &masks]);
    assert!(message.contains("31.inner.png"), "{message}");
    assert_eq!(std::fs::read(&input).unwrap(), std::fs::read(&picture).unwrap());
}
