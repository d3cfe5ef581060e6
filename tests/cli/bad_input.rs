//! Bad input gives a one-line error that says what to do, exit code 2, and no output files.

use std::fs;
use std::path::Path;

use super::common::{failure, golden, listing, tiny_model, write_dataset, write_image};
use tempfile::tempdir;

/// A copy of the tiny checkpoint with its weights file modified by `change`.
fn damaged(folder: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    for name in ["config.json", "preprocessor_config.json"] {
        fs::copy(tiny_model().join(name), folder.join(name)).unwrap();
    }
    let mut bytes = fs::read(tiny_model().join("model.safetensors")).unwrap();
    change(&mut bytes);
    fs::write(folder.join("model.safetensors"), bytes).unwrap();
}

/// Offset of the data after the safetensors header.
fn data_start(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

/// Embeds a good image with the model in `folder`. Checks that nothing was written, and returns the error message.
fn embed_error(model: &Path) -> String {
    let out = tempdir().unwrap();
    let file = out.path().join("f.safetensors");
    let message = failure(&[&"embed", &model, &golden("pixels_rgb8.png"), &"-o", &file, &"--size", &"32"]);
    assert!(listing(out.path()).is_empty());
    message
}

#[test]
fn truncated_checkpoint() {
    for keep in [0, 4, 7, 100, 5000] {
        let folder = tempdir().unwrap();
        damaged(folder.path(), |bytes| bytes.truncate(keep));
        let message = embed_error(folder.path());
        assert!(message.contains("model.safetensors"), "{message}");
    }
    let folder = tempdir().unwrap();
    damaged(folder.path(), |bytes| bytes.truncate(bytes.len() - 1));
    let message = embed_error(folder.path());
    assert!(message.contains("truncated"), "{message}");
}

#[test]
fn header_that_lies_about_sizes() {
    let folder = tempdir().unwrap();
    damaged(folder.path(), |bytes| bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes()));
    assert!(embed_error(folder.path()).contains("header"));

    for (from, to) in [("[32,32]", "[99,99]"), ("\"F32\"", "\"F64\"")] {
        let folder = tempdir().unwrap();
        damaged(folder.path(), |bytes| {
            let start = data_start(bytes);
            let header = String::from_utf8(bytes[8..start].to_vec()).unwrap();
            assert!(header.contains(from), "{header}");
            bytes[8..start].copy_from_slice(header.replacen(from, to, 1).as_bytes());
        });
        let message = embed_error(folder.path());
        assert!(message.contains("tensor "), "{message}");
    }
}

#[test]
fn tensor_of_nans() {
    let folder = tempdir().unwrap();
    damaged(folder.path(), |bytes| {
        let start = data_start(bytes);
        for value in bytes[start..].chunks_exact_mut(4).take(32) {
            value.copy_from_slice(&f32::NAN.to_le_bytes());
        }
    });
    let message = embed_error(folder.path());
    assert!(message.contains("NaN") && message.contains("tensor "), "{message}");
}

#[test]
fn not_a_model() {
    let folder = tempdir().unwrap();
    assert!(embed_error(folder.path()).contains("model.safetensors"));
    assert!(embed_error(&folder.path().join("nowhere")).contains("nowhere"));
    assert_eq!(embed_error(&folder.path().join("nowhere")).matches("os error 2").count(), 1);
    assert!(embed_error(Path::new("dinov3-vits16")).contains("microraptor models"));
    assert!(embed_error(Path::new("untrained:nothing")).contains("dinov3-vits16"));
    assert!(embed_error(&golden("pixels_rgb8.png")).contains("pixels_rgb8.png"));
}

/// Embeds `image` with the tiny model. Checks that nothing was written, and returns the error message.
fn image_error(image: &Path) -> String {
    let out = tempdir().unwrap();
    let file = out.path().join("f.safetensors");
    let message = failure(&[&"embed", &tiny_model(), &image, &"-o", &file, &"--size", &"32"]);
    assert!(listing(out.path()).is_empty());
    message
}

#[test]
fn bad_images() {
    let folder = tempdir().unwrap();
    let half = folder.path().join("half.png");
    let bytes = fs::read(golden("pixels_rgb8.png")).unwrap();
    fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    assert!(image_error(&half).contains("half.png"));

    let dot = folder.path().join("dot.png");
    image::save_buffer(&dot, &[9], 1, 1, image::ColorType::L8).unwrap();
    let message = image_error(&dot);
    assert!(message.contains("dot.png") && message.contains("1x1"), "{message}");

    let text = folder.path().join("text.png");
    fs::write(&text, "not an image").unwrap();
    assert!(image_error(&text).contains("text.png"));

    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(image_error(&empty).contains("empty"));
    assert!(image_error(&folder.path().join("missing.png")).contains("missing.png"));
}

#[test]
fn arguments_that_do_not_parse() {
    let help = "; see 'microraptor embed --help'";
    let message = failure(&[&"embed", &tiny_model(), &"--foo"]);
    assert_eq!(
        message,
        format!("unexpected argument '--foo' found; tip: to pass '--foo' as a value, use '-- --foo'{help}")
    );
    let message =
        failure(&[&"embed", &"--isa", &"scalar", &tiny_model(), &"a.png", &"-o", &"f.npz", &"--size", &"0"]);
    assert!(message.starts_with("invalid value '0' for '--size <R>': size 0 is out of range"), "{message}");
    assert!(message.ends_with(help), "{message}");
    assert_eq!(
        failure(&[&"embed"]),
        format!(
            "the following required arguments were not provided: --output <FILE>, <MODEL>, <IMAGES>...{help}"
        )
    );
    let message = failure(&[&"convert", &tiny_model(), &"-o", &"m", &"--precision", &"int9"]);
    for part in ["'int9'", "[possible values: int8, fp16, f32]; tip: ", "; see 'microraptor convert --help'"]
    {
        assert!(message.contains(part), "{message}");
    }
    let message = failure(&[&"embedd"]);
    assert!(message.contains("'embedd'") && message.contains("'embed'"), "{message}");
    assert!(message.ends_with("; see 'microraptor --help'"), "{message}");
    for (flag, text) in [("--help", "Usage: microraptor"), ("--version", "microraptor 0.")] {
        assert!(super::common::success(&[&flag]).contains(text));
    }
    assert_eq!(super::common::success(&[&"-V"]).lines().count(), 1);
    let about = super::common::success(&[&"--version", &"--verbose"]);
    for line in ["features          ", "instruction sets  scalar", "MIT License (MIT)"] {
        assert!(about.contains(line), "{about}");
    }
    assert!(super::common::success(&[&"-V", &"-vv"]).contains("SIL OPEN FONT LICENSE"));
}

#[test]
fn size_that_is_not_a_multiple_of_the_patch() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("f.safetensors");
    let image = golden("pixels_rgb8.png");
    let message = failure(&[&"embed", &tiny_model(), &image, &"-o", &file, &"--size", &"225"]);
    assert!(message.contains("225") && message.contains("try 224"), "{message}");
    let message = failure(&[&"profile", &tiny_model(), &"--sizes", &"32,40"]);
    assert!(message.contains("40"), "{message}");
}

/// Trains on `data` with the tiny model. Checks that no head was written, and returns the error message.
fn train_error(data: &Path) -> String {
    let out = tempdir().unwrap();
    let head = out.path().join("head.safetensors");
    let message = failure(&[&"train", &tiny_model(), &"--data", &data, &"-o", &head, &"--size", &"32"]);
    assert!(listing(out.path()).is_empty());
    message
}

#[test]
fn bad_data_sets() {
    let folder = tempdir().unwrap();
    let message = train_error(folder.path());
    assert!(message.contains(&folder.path().display().to_string()), "{message}");

    write_image(&folder.path().join("a.png"), 0, 0);
    let csv = folder.path().join("labels.csv");
    fs::write(&csv, "image,label\na.png,x\nmissing.png,y\n").unwrap();
    let message = train_error(&csv);
    assert!(message.contains("missing.png") && message.contains("labels.csv"), "{message}");

    fs::write(&csv, "picture,label\na.png,x\n").unwrap();
    assert!(train_error(&csv).contains("image"));

    let data = folder.path().join("data");
    write_dataset(&data, &["many"], 6);
    write_dataset(&data, &["one"], 1);
    let message = train_error(&data);
    assert!(message.contains("one"), "{message}");
}

#[test]
fn output_that_cannot_be_written() {
    let folder = tempdir().unwrap();
    let image = golden("pixels_rgb8.png");
    let nowhere = folder.path().join("nowhere/f.safetensors");
    let message = failure(&[&"embed", &tiny_model(), &image, &"-o", &nowhere, &"--size", &"32"]);
    assert!(message.contains("nowhere"), "{message}");
    // The output path is a folder, which even root cannot overwrite.
    let message = failure(&[&"embed", &tiny_model(), &image, &"-o", &folder.path(), &"--size", &"32"]);
    assert!(message.contains(&folder.path().display().to_string()), "{message}");
    let message =
        failure(&[&"embed", &tiny_model(), &image, &"-o", &"/proc/f.safetensors", &"--size", &"32"]);
    assert!(message.contains("/proc/f.safetensors"), "{message}");
    let message = failure(&[&"profile", &tiny_model(), &"--sizes", &"32", &"-o", &"/proc/x"]);
    assert!(message.contains("/proc/x"), "{message}");
}

#[test]
fn output_names_and_folders() {
    let folder = tempdir().unwrap();
    let image = golden("pixels_rgb8.png");
    let file = folder.path().join("f.csv");
    let message = failure(&[&"embed", &tiny_model(), &image, &"-o", &file, &"--size", &"32"]);
    assert!(message.contains(".npz"), "{message}");
    // A profile that fails leaves no folder.
    let report = folder.path().join("deep/report");
    failure(&[&"profile", &"nowhere", &"--sizes", &"32", &"-o", &report]);
    let message =
        failure(&[&"profile", &tiny_model(), &"--sizes", &"32", &"--threads", &"0", &"-o", &report]);
    assert!(message.contains("1 to 256"), "{message}");
    assert!(listing(folder.path()).is_empty());
}

#[test]
fn a_head_on_other_classes() {
    let folder = tempdir().unwrap();
    let (data, others) = (folder.path().join("data"), folder.path().join("others"));
    write_dataset(&data, &["columns", "rows"], 6);
    write_dataset(&others, &["columns", "waves"], 3);
    let head = folder.path().join("head.safetensors");
    super::common::success(&[&"train", &tiny_model(), &"--data", &data, &"-o", &head, &"--size", &"32"]);
    let message = failure(&[&"evaluate", &tiny_model(), &"--head", &head, &"--data", &others]);
    assert!(message.contains("'waves'") && message.contains("columns, rows"), "{message}");
    let message = failure(&[&"train", &tiny_model(), &"--data", &data, &"-o", &head, &"--c", &"0"]);
    assert!(message.contains("--c 0"), "{message}");
}

#[test]
fn a_head_on_the_wrong_backbone() {
    let folder = tempdir().unwrap();
    let data = folder.path().join("data");
    write_dataset(&data, &["columns", "rows"], 6);
    let head = folder.path().join("head.safetensors");
    super::common::success(&[&"train", &tiny_model(), &"--data", &data, &"-o", &head, &"--size", &"32"]);
    let image = data.join("rows/00.png");
    let other = golden("vit/hf_splus");
    let message = failure(&[&"predict", &other, &"--head", &head, &image]);
    assert!(message.contains("head.safetensors") && message.contains("backbone"), "{message}");
    assert!(failure(&[&"predict", &tiny_model(), &"--head", &image, &image]).contains("00.png"));
}

#[test]
fn bad_thread_counts() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("f.safetensors");
    for threads in ["0", "1000000"] {
        let image = golden("pixels_rgb8.png");
        let message = failure(&[
            &"embed",
            &tiny_model(),
            &image,
            &"-o",
            &file,
            &"--size",
            &"32",
            &"--threads",
            &threads,
        ]);
        assert!(message.contains("1 to 256"), "{message}");
    }
}

#[test]
fn instruction_set_that_is_unknown_or_lacking() {
    use microraptor::kernels::{Isa, VARIABLE};

    let message = failure(&[&"--isa", &"mmx", &"info", &tiny_model()]);
    assert!(message.contains("'mmx'") && message.contains("scalar"), "{message}");
    let run = |isa: &str| {
        super::common::program()
            .args(["info".as_ref(), tiny_model().as_os_str()])
            .env(VARIABLE, isa)
            .output()
            .unwrap()
    };
    let here = Isa::available();
    for name in ["scalar", "avx2", "avxvnni", "avx512vnni", "neon", "dotprod", "i8mm"] {
        if here.iter().any(|isa| isa.name() == name) {
            let text = String::from_utf8(run(name).stdout).unwrap();
            assert!(text.contains(&format!("f32 on {name}")), "{text}");
        } else {
            let message = failure(&[&"--isa", &name, &"info", &tiny_model()]);
            assert!(message.contains(&format!("no {name}")) && message.contains("scalar"), "{message}");
            assert_eq!(run(name).status.code(), Some(2));
        }
    }
    assert_eq!(run("mmx").status.code(), Some(2));
}

/// int8 from conversion to features: forced to plain Rust and on the fastest instruction set, with one thread and
/// three.
#[test]
fn features_of_a_converted_model_do_not_depend_on_the_instruction_set() {
    let folder = tempdir().unwrap();
    let model = folder.path().join("int8.safetensors");
    super::common::success(&[
        &"convert",
        &tiny_model(),
        &"-o",
        &model,
        &"--precision",
        &"int8",
        &"--size",
        &"32",
    ]);
    let mut files = Vec::new();
    for isa in microraptor::kernels::Isa::available() {
        for threads in ["1", "3"] {
            let file = folder.path().join(format!("{isa}-{threads}.safetensors"));
            let images: [&dyn AsRef<std::ffi::OsStr>; 11] = [
                &"--isa",
                &isa.name(),
                &"embed",
                &model,
                &golden("pixels_rgb8.png"),
                &"--size",
                &"32",
                &"--threads",
                &threads,
                &"-o",
                &file,
            ];
            super::common::success(&images);
            files.push(fs::read(file).unwrap());
        }
    }
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]));
}
