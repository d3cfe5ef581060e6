//! DICOM through the program: its output files, refused inputs, and privacy.

use std::path::{Path, PathBuf};

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use tempfile::tempdir;

use crate::common::*;

/// A classification and a segmentation head, trained on synthetic images.
fn heads(folder: &Path) -> [PathBuf; 2] {
    let data = folder.join("data");
    write_dataset(&data, &["columns", "rows"], 8);
    let mut csv = String::from("image,mask,split\n");
    for i in 0..8 {
        let mask: Vec<u8> = (0..40 * 36).map(|p| if p % 40 > 10 + i { 255 } else { 0 }).collect();
        let name = format!("data/rows/{i:02}-mask.pgm");
        image::save_buffer(folder.join(&name), &mask, 40, 36, image::ColorType::L8).unwrap();
        csv += &format!("data/rows/{i:02}.png,{name},{}\n", if i < 6 { "train" } else { "val" });
    }
    let masks = folder.join("masks.csv");
    std::fs::write(&masks, csv).unwrap();
    let classes = folder.join("classes.safetensors");
    let lesion = folder.join("lesion.safetensors");
    let size: [&dyn AsRef<std::ffi::OsStr>; 2] = [&"--size", &"32"];
    let model = tiny_model();
    let mut train: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"train", &model, &"--data"];
    train.extend(size);
    let labels: Vec<&dyn AsRef<std::ffi::OsStr>> =
        vec![&"-o", &lesion, &"--head", &"segment", &"--epochs", &"2"];
    let mut segment = train.clone();
    segment.insert(3, &masks);
    success(&[segment, labels].concat());
    for i in 0..8 {
        std::fs::remove_file(folder.join(format!("data/rows/{i:02}-mask.pgm"))).unwrap();
    }
    train.insert(3, &data);
    train.extend([&"-o" as &dyn AsRef<_>, &classes]);
    success(&train);
    [classes, lesion]
}

/// A golden file with some elements replaced.
fn with(folder: &Path, name: &str, elements: &[(Tag, VR, &str)]) -> PathBuf {
    let mut object = dicom_object::open_file(golden("dicom/exact.dcm")).unwrap();
    let uids = [(tags::STUDY_INSTANCE_UID, VR::UI, "2.25.1"), (tags::SERIES_INSTANCE_UID, VR::UI, "2.25.2")];
    for (tag, vr, value) in uids.iter().chain(elements) {
        object.put(DataElement::new(*tag, *vr, PrimitiveValue::from(*value)));
    }
    let path = folder.join(name);
    object.write_to_file(&path).unwrap();
    path
}

const SECRETS: [(Tag, VR, &str); 4] = [
    (tags::PATIENT_NAME, VR::PN, "Quetzal^Ann"),
    (tags::PATIENT_ID, VR::LO, "ID-9071"),
    (tags::STUDY_DATE, VR::DA, "19870604"),
    (tags::PATIENT_BIRTH_DATE, VR::DA, "19210302"),
];

#[test]
fn objects_are_written_and_the_patient_is_not_named() {
    let folder = tempdir().unwrap();
    let [classes, lesion] = heads(folder.path());
    let mut elements = SECRETS.to_vec();
    elements.push((tags::BURNED_IN_ANNOTATION, VR::CS, "NO"));
    let scan = with(folder.path(), "scan.dcm", &elements);
    let out = folder.path().join("out");
    let run = |options: &[&str]| {
        let model = tiny_model();
        let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"-vv", &"predict", &model, &"--head", &classes];
        args.extend([
            &"--head" as &dyn AsRef<_>,
            &lesion,
            &"--dicom",
            &out,
            &"--masks",
            &out,
            &"--overlays",
            &out,
        ]);
        args.push(&scan);
        args.extend(options.iter().map(|o| o as &dyn AsRef<_>));
        let output = microraptor(&args);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let (line, log) = run(&[]);
    for secret in ["Quetzal", "9071", "1987", "1921"] {
        assert!(!line.contains(secret) && !log.contains(secret), "{secret}: {line} {log}");
    }
    let line = json(&line);
    assert!(line.get("sop_instance_uid").is_none(), "{line}");
    let uid = dicom_object::open_file(&scan).unwrap();
    let uid =
        uid.element(tags::SOP_INSTANCE_UID).unwrap().to_str().unwrap().trim_end_matches('\0').to_owned();
    for (head, kind) in [(&line["heads"][0], "dicom_sr"), (&line["heads"][1], "dicom_seg")] {
        let object = dicom_object::open_file(head[kind].as_str().unwrap()).unwrap();
        // The object belongs to the same patient and refers to the source.
        assert_eq!(object.element(tags::PATIENT_ID).unwrap().to_str().unwrap(), "ID-9071");
        let bytes = std::fs::read(head[kind].as_str().unwrap()).unwrap();
        assert!(bytes.windows(uid.len()).any(|w| w == uid.as_bytes()));
    }
    assert_eq!(
        listing(&out),
        ["scan.classes.sr.dcm", "scan.lesion.overlay.png", "scan.lesion.png", "scan.lesion.seg.dcm"]
    );
    // Only the owner may read outputs made from a patient's image.
    #[cfg(unix)]
    for file in listing(&out) {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(out.join(&file).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let (line, _) = run(&["--with-identifiers"]);
    assert_eq!(json(&line)["sop_instance_uid"], uid);
    assert_eq!(json(&line)["identifiers"]["patient_name"], "Quetzal^Ann");
}

#[test]
fn what_is_not_applied_is_said() {
    let folder = tempdir().unwrap();
    let output = folder.path().join("f.npz");
    let said = |elements: &[(Tag, VR, &str)]| {
        let scan = with(folder.path(), "scan.dcm", elements);
        let run = microraptor(&[&"embed", &tiny_model(), &scan, &"--size", &"32", &"-o", &output]);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        said_of_files(&run.stderr)
    };
    assert_eq!(
        said(&[(tags::PIXEL_ASPECT_RATIO, VR::IS, "4\\4"), (tags::PIXEL_SPACING, VR::DS, "0.2\\0.201")]),
        ""
    );
    // Height before width, PS3.3 C.7.6.3.1.7.
    let message = said(&[(tags::PIXEL_ASPECT_RATIO, VR::IS, "2\\1")]);
    assert!(message.contains("not square (1 wide, 2 high)"), "{message}");
    let message = said(&[(tags::PIXEL_SPACING, VR::DS, "0.2\\0.3")]);
    assert!(message.contains("not square (0.3 wide, 0.2 high)"), "{message}");
    let message = said(&[(Tag(0x6002, 0x0010), VR::US, "32")]);
    assert!(message.contains("has overlays, which are not drawn"), "{message}");
}

#[test]
fn pixels_that_may_show_a_name_are_not_drawn() {
    let folder = tempdir().unwrap();
    let [_, lesion] = heads(folder.path());
    let scan = with(folder.path(), "scan.dcm", &[(tags::BURNED_IN_ANNOTATION, VR::CS, "YES")]);
    let out = folder.path().join("out");
    let message = failure(&[&"predict", &tiny_model(), &"--head", &lesion, &"--overlays", &out, &scan]);
    assert!(message.contains("BurnedInAnnotation") && message.contains("--with-identifiers"), "{message}");
    let flag = "--with-identifiers";
    success(&[&"predict", &tiny_model(), &"--head", &lesion, &"--overlays", &out, &scan, &flag]);
    assert_eq!(listing(&out), ["scan.overlay.png"]);
}

#[test]
fn modalities_that_features_fail_on_are_refused_unless_one_insists() {
    let folder = tempdir().unwrap();
    let [classes, _] = heads(folder.path());
    let scan = with(folder.path(), "pet.dcm", &[(tags::MODALITY, VR::CS, "PT")]);
    let message = failure(&[&"predict", &tiny_model(), &"--head", &classes, &scan]);
    assert!(message.contains("PET") && message.contains("allow_unsupported_modality"), "{message}");
    let flag = "--allow-unsupported-modality";
    let line = json(&success(&[&"predict", &tiny_model(), &"--head", &classes, &scan, &flag]));
    assert!(line["caution"].as_str().unwrap().contains("2509.06467"), "{line}");
}

/// Files and folders below `folder` to which anyone but the owner has access.
#[cfg(unix)]
fn open_to_others(folder: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.metadata().unwrap().permissions().mode() & 0o077 != 0 {
            found.push(path.display().to_string());
        }
        if path.is_dir() {
            found.extend(open_to_others(&path));
        }
    }
    found
}

/// Features and heads can identify a person: output made from DICOM is accessible to its owner only, output made from
/// pictures according to the umask.
#[cfg(unix)]
#[test]
fn what_is_made_of_patients_is_private() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let scan = dicom_object::open_file(golden("dicom/exact.dcm")).unwrap();
    let pixels = scan.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap().into_owned();
    for (kind, class) in ["flat", "steps"].iter().enumerate() {
        std::fs::create_dir_all(at("scans").join(class)).unwrap();
        for n in 0..6 {
            let mut object = scan.clone();
            let changed = pixels.iter().enumerate().map(|(i, &v)| v ^ (i / 16 % 8 * kind * 16 + n) as u8);
            let changed = PrimitiveValue::U8(changed.collect());
            object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, changed));
            object.write_to_file(at(&format!("scans/{class}/{n}.dcm"))).unwrap();
        }
    }
    write_dataset(&at("pictures"), &["columns", "rows"], 6);
    let usual = {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(at("usual"), "").unwrap();
        at("usual").metadata().unwrap().permissions().mode() & 0o077 != 0
    };
    let model = tiny_model();
    for data in ["scans", "pictures"] {
        let out = at(&format!("of-{data}"));
        std::fs::create_dir(&out).unwrap();
        let class = at(data).join(if data == "scans" { "steps" } else { "rows" });
        let size: [&dyn AsRef<std::ffi::OsStr>; 4] = [&"--size", &"32", &"--threads", &"1"];
        let embed: [&dyn AsRef<std::ffi::OsStr>; 5] = [&"embed", &model, &class, &"-o", &out.join("f.npz")];
        success(&[embed.as_slice(), &size].concat());
        let train: [&dyn AsRef<std::ffi::OsStr>; 6] =
            [&"train", &model, &"--data", &at(data), &"-o", &out.join("head.safetensors")];
        success(&[train.as_slice(), &size].concat());
        let report = out.join("report");
        let profile: [&dyn AsRef<std::ffi::OsStr>; 11] = [
            &"profile",
            &model,
            &"--data",
            &at(data),
            &"-o",
            &report,
            &"--runs",
            &"3",
            &"--seconds",
            &"0",
            &"--no-cold",
        ];
        success(&[profile.as_slice(), &size].concat());
        assert!(report.join("heads").is_dir() && out.join("head.safetensors").is_file());
        let open = open_to_others(&out);
        assert!(open.is_empty() == (data == "scans" || !usual), "{data}: {open:?}");
    }
}
