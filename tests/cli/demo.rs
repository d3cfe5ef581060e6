//! The built-in backbone: MODEL `demo`, and the gallery that `demo` writes.

#[cfg(feature = "demo")]
mod built_in {
    use std::path::{Path, PathBuf};

    use microraptor::input::{Dataset, LabelMap};
    use serde_json::Value;
    use tempfile::tempdir;

    use crate::common::*;

    fn file() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/demo/demo.safetensors")
    }

    #[test]
    fn info_says_what_it_is_and_it_is_the_file_of_the_repository() {
        let about = json(&success(&[&"info", &"demo", &"--size", &"32", &"--json", &"--tensors"]));
        let card = json(&success(&[&"models", &"demo", &"--json"]));
        assert_eq!(about["title"], card["title"]);
        // Only LayerScale is missing from a converted model's architecture, because it is folded into the weights.
        for part in ["dim", "depth", "heads", "patch", "hidden", "registers", "positions"] {
            assert_eq!(about["architecture"][part], card["architecture"][part], "{part}");
        }
        assert!(about["file_bytes"].as_u64().unwrap() < 7_000_000, "{about}");
        assert!(!about["tensors"].as_array().unwrap().is_empty());
        let other = json(&success(&[&"info", &file(), &"--size", &"32", &"--json"]));
        assert_eq!([&about["sha256"], &about["name"]], [&other["sha256"], &other["name"]]);
        let text = success(&[&"info", &"demo"]);
        assert!(text.contains("patches of 16 px; positions rotary"), "{text}");
    }

    /// The name means the same in every folder.
    #[test]
    fn a_file_of_its_name_is_a_path_with_a_folder() {
        let folder = tempdir().unwrap();
        std::fs::write(folder.path().join("demo"), "no model").unwrap();
        let run = |model: &str| program().current_dir(folder.path()).args(["info", model]).output().unwrap();
        assert!(run("demo").status.success());
        assert_eq!(run("./demo").status.code(), Some(2));
        let message = failure(&[&"convert", &"demo", &"-o", &folder.path().join("x.safetensors")]);
        assert!(message.contains("demo is a converted model already"), "{message}");
    }

    #[test]
    fn heads_are_bound_to_it_and_to_its_file_alike() {
        let folder = tempdir().unwrap();
        let (data, head) = (folder.path().join("data"), folder.path().join("head.safetensors"));
        write_dataset(&data, &["columns", "rows"], 4);
        success(&[&"train", &"demo", &"--data", &data, &"--size", &"32", &"-o", &head]);
        let image = data.join("rows/00.png");
        let said = |model: &dyn AsRef<std::ffi::OsStr>| {
            json(&success(&[&"predict", &model.as_ref(), &"--head", &head, &image]))["heads"].clone()
        };
        assert_eq!(said(&"demo"), said(&file()));
        let features = folder.path().join("features.safetensors");
        success(&[&"embed", &"demo", &image, &"--size", &"32", &"-o", &features]);
        assert!(features.exists());
    }

    /// A minimal run of `demo`, into `folder`.
    fn gallery(folder: &Path, seed: &str) -> Value {
        let quick: [&dyn AsRef<std::ffi::OsStr>; 10] = [
            &"demo",
            &"-o",
            &folder,
            &"--phantoms",
            &"6",
            &"--sizes",
            &"32,64",
            &"--threads",
            &"1",
            &"--json",
        ];
        json(&success(&[quick.as_slice(), &[&"--seed", &seed]].concat()))
    }

    #[test]
    fn the_gallery_is_whole_and_can_be_gone_on_from() {
        let folder = tempdir().unwrap();
        let out = folder.path().join("new/out");
        std::fs::create_dir(folder.path().join("new")).unwrap();
        let said = gallery(&out, "1");
        assert_eq!(said["images"], serde_json::json!({"all": 18, "held_out": 6}));
        assert!(said["class"]["auc"]["value"].is_number() && said["lesion"]["dice"]["value"].is_number());
        for file in said["files"].as_array().unwrap() {
            assert!(out.join(file.as_str().unwrap()).exists(), "{file}");
        }
        check_phantoms(&out);
        check_page(&out);
        check_report(&out, &said);
        check_heads(&out);
        // Again, into the same folder: the phantoms change, and no old file is left.
        let names = listing(&out);
        assert!(!names.iter().any(|name| name.starts_with('.')), "{names:?}");
        let pictures = listing(&out.join("pictures"));
        let picture = std::fs::read(out.join("pictures").join(&pictures[0])).unwrap();
        gallery(&out, "2");
        assert_eq!((listing(&out), listing(&out.join("pictures"))), (names, pictures.clone()));
        assert_ne!(std::fs::read(out.join("pictures").join(&pictures[0])).unwrap(), picture);
    }

    /// An image and its mask have the same size, and the mask shows a lesion exactly if the label does.
    fn check_phantoms(out: &Path) {
        let set = Dataset::open(out.join("phantoms/labels.csv")).unwrap();
        assert_eq!(set.classes, ["background", "cyst", "mass"]);
        for sample in &set.samples {
            let image = sample.source.open().unwrap();
            let mask = LabelMap::open(sample.mask.as_ref().unwrap(), None).unwrap();
            assert_eq!((mask.height, mask.width), (image.height(), image.width()), "{}", sample.name);
            assert_eq!(mask.labels.contains(&1), sample.labels != [0], "{}", sample.name);
        }
    }

    /// The page is well formed, loads nothing from elsewhere, and every linked file exists.
    fn check_page(out: &Path) {
        let page = std::fs::read_to_string(out.join("index.html")).unwrap();
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        let page = roxmltree::Document::parse_with_options(&page, options).unwrap();
        let links = page.descendants().filter_map(|n| n.attribute("src").or(n.attribute("href")));
        let links: Vec<&str> = links.collect();
        assert!(links.len() > 12, "{links:?}");
        for link in links {
            assert!(!link.contains(':') && out.join(link).is_file(), "{link}");
        }
        let pictures = page.descendants().filter(|n| n.has_tag_name(("http://www.w3.org/1999/xhtml", "img")));
        assert!(pictures.clone().all(|n| n.attribute("alt").is_some_and(|alt| !alt.is_empty())));
        assert_eq!(pictures.count(), 3 * 6);
        for picture in listing(&out.join("pictures")) {
            // Below a heat map is what its colours stand for.
            let height = if picture.contains("-why") { 271 } else { 256 };
            let picture = image::open(out.join("pictures").join(picture)).unwrap();
            assert_eq!((picture.width(), picture.height()), (256, height));
        }
    }

    /// The report has the accuracy at each size; at the largest it is that of the gallery's head.
    fn check_report(out: &Path, said: &Value) {
        let results = json(&std::fs::read_to_string(out.join("report/results.json")).unwrap());
        let rows = results["rows"].as_array().unwrap();
        let of = |row: &Value| (row["height"].as_u64().unwrap(), row["accuracy"]["value"].as_f64().unwrap());
        let found: Vec<(u64, f64)> = rows.iter().map(of).collect();
        assert_eq!(found.iter().map(|(size, _)| *size).collect::<Vec<_>>(), [32, 64]);
        assert_eq!(Some(found[1].1), said["class"]["auc"]["value"].as_f64());
    }

    /// Both heads predict, and new heads can be trained on the phantoms.
    fn check_heads(out: &Path) {
        let (class, lesion) = (out.join("class.safetensors"), out.join("lesion.safetensors"));
        let image = out.join("phantoms/images/cyst-005.png");
        let line = json(&success(&[&"predict", &"demo", &"--head", &class, &"--head", &lesion, &image]));
        assert_eq!(line["heads"].as_array().unwrap().len(), 2, "{line}");
        let csv = out.join("phantoms/labels.csv");
        for head in ["linear", "segment"] {
            let to = out.join(format!("my-{head}.safetensors"));
            success(&[
                &"train",
                &"demo",
                &"--data",
                &csv,
                &"--head",
                &head,
                &"--size",
                &"32",
                &"--epochs",
                &"1",
                &"-o",
                &to,
                &"--no-cache",
            ]);
            std::fs::remove_file(to).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_before_the_minute() {
        let folder = tempdir().unwrap();
        let (file, out) = (folder.path().join("file"), folder.path().join("out"));
        std::fs::write(&file, "").unwrap();
        for (args, problem) in [
            (["-o", file.to_str().unwrap()], "file"),
            (["--phantoms", "5"], "6..=500"),
            (["--sizes", "50"], "not a multiple of the patch"),
            (["--threads", "0"], "0 threads"),
        ] {
            let message = match args[0] {
                "-o" => failure(&[&"demo", &args[0], &args[1]]),
                _ => failure(&[&"demo", &args[0], &args[1], &"-o", &out]),
            };
            assert!(message.contains(problem), "{args:?}: {message}");
            assert!(!out.exists(), "{args:?}");
        }
    }
}

/// The error message says that the backbone is missing from this build, and how to include it.
#[cfg(not(feature = "demo"))]
#[test]
fn a_build_without_the_backbone_says_how_to_get_it() {
    use crate::common::failure;
    for args in [["info", "demo"].as_slice(), &["profile", "demo"], &["demo"]] {
        let args: Vec<&dyn AsRef<std::ffi::OsStr>> =
            args.iter().map(|arg| arg as &dyn AsRef<std::ffi::OsStr>).collect();
        let message = failure(&args);
        assert!(message.contains("--features demo") && message.contains("models/demo/"), "{message}");
    }
}
