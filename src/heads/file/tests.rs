//! Heads survive a round trip through their file; damaged files are rejected.

use ndarray::Array2;

use super::*;
use crate::features::{Geometry, Grid, ScanFeatures, Tokens};
use crate::heads::{
    AbmilHead, AbmilOptions, Bags, Calibration, ClassWeights, ContourScore, Contours, Examples, FitOptions,
    KnnHead, LinearHead, Masked, ProbeSearch, Recipe, SegmentHead, SegmentOptions, Targets,
};
use crate::input::{LabelMap, ScanKind, phantom_dataset};
use crate::kernels::Isa;
use crate::quant::Precision;

fn head() -> Head {
    let names = vec!["benign".to_owned(), "malignant \"?\"".to_owned()];
    let parts = [vec![0.1, -3.0], vec![1.0, 0.3], vec![0.25, -1.0 / 3.0, 0.5, 1e-300], vec![0.7, -0.7]];
    Head {
        model: HeadModel::Linear(LinearHead::new(names, false, 1.0 / 3.0, parts).unwrap()),
        ood: None,
        conformal: None,
        contours: None,
        preprocess: Preprocess::IMAGENET,
        read: ReadOptions { crop_us: true, ..ReadOptions::default() },
        size: Size { height: 224, width: 352 },
        backbone: Backbone { name: "deit-tiny".into(), sha256: "0123456789abcdef".repeat(4), reading: 0 },
        training: TrainingSummary {
            images_per_class: vec![3, 4],
            c: Some(0.01),
            validation: Some(ValidationSummary { images: 9, auc: Some(0.875), ..Default::default() }),
            ..Default::default()
        },
        attestation: Some(HeadAttestation {
            version: 1,
            seed: 3,
            values: "cd".repeat(32),
            answers: "ab".repeat(32),
        }),
        tool: Head::TOOL.into(),
    }
}

fn about(sha256: &str, reading: u32) -> About {
    About {
        name: "deit-tiny".into(),
        sha256: sha256.into(),
        preprocess: Preprocess::IMAGENET,
        untrained: false,
        precision: Precision::F32,
        backend: crate::engine::Backend::Tract,
        reading,
        described: false,
        assumed: Vec::new(),
        attestation: None,
    }
}

/// The error message for a file that contains `bytes`.
fn refusal(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    std::fs::write(&path, bytes).unwrap();
    let text = Head::load(&path).unwrap_err().to_string();
    assert!(text.contains("head.safetensors") && !text.contains('\n'), "{text}");
    text
}

/// The file with `from` in its JSON header replaced by `to`, and the header's length corrected.
fn edited(from: &str, to: &str) -> Vec<u8> {
    let bytes = head().to_bytes().unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
    assert!(header.contains(from), "{header}");
    let header = header.replacen(from, to, 1);
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes[8 + length..]].concat()
}

/// The same file with its digest corrected, so that the checks after the digest are reached.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let key = br#"\"digest\":\""#;
    let at = bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len();
    bytes[at..at + 64].fill(b'0');
    sealed::seal(&mut bytes);
    bytes
}

/// A head of every kind, trained on minimal data.
fn every_kind() -> Vec<Head> {
    let names = vec!["a".to_owned(), "b".to_owned()];
    let x = Array2::from_shape_fn((8, 3), |(i, j)| ((i * 5 + j * 3) % 7) as f32 + (i % 2) as f32);
    let of: Vec<usize> = (0..8).map(|i| i % 2).collect();
    let examples = Examples { features: x.view(), targets: Targets::Classes(&of) };
    let rows: Vec<Array2<f32>> = (0..8).map(|i| x.select(ndarray::Axis(0), &[i, (i + 3) % 8])).collect();
    let bags = Bags { rows: &rows, targets: Targets::Classes(&of) };
    let options = AbmilOptions { epochs: 2, ..AbmilOptions::default() };
    let (abmil, _) = AbmilHead::fit(&bags, &bags, &names, &options, &mut |_, _| {}).unwrap();
    let mut models = vec![
        HeadModel::Knn(KnnHead::new(&examples, &names, false).unwrap()),
        HeadModel::Knn(KnnHead::new(&examples, &names, true).unwrap()),
        HeadModel::Abmil(abmil),
    ];
    let HeadModel::Linear(linear) = head().model else { panic!("a linear head") };
    models.push(HeadModel::Volume(linear));
    for (decoder, volume) in [(false, false), (true, false), (true, true)] {
        let grid = Grid { depth: 2, height: 2, width: 2 };
        let values = (0..16).map(|i| half::f16::from_f32(i as f32)).collect();
        let tokens = Tokens { grid, channels: 2, values };
        let mask = LabelMap::new(2, 4, 4, (0..32).map(|i| u8::from(i % 16 > 7)).collect()).unwrap();
        let set = [Masked { tokens: &tokens, mask: &mask }];
        let options = SegmentOptions { decoder, volume, epochs: Some(1), ..SegmentOptions::default() };
        let fit = SegmentHead::fit(&set, &set, &names, &[1, 3], &options, &mut |_, _| {});
        models.push(HeadModel::Segment(fit.unwrap().0));
    }
    let ood = OutOfDistribution::fit(x.view(), x.view()).unwrap();
    models.push(calibrated(&names));
    let three = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
    models.push(calibrated(&three));
    models.into_iter().map(|model| with_scores(Head { model, ood: Some(ood.clone()), ..head() })).collect()
}

/// A linear head for `names` with a calibration.
fn calibrated(names: &[String]) -> HeadModel {
    let n = names.len();
    let parts = [vec![0.0], vec![1.0], vec![0.5; n], vec![0.25; n]];
    let mut model = HeadModel::Linear(LinearHead::new(names.to_vec(), false, 0.5, parts).unwrap());
    let map = match n {
        2 => Calibration::Platt(vec![[0.8, -1.0 / 3.0]]),
        _ => Calibration::Temperature(1.7),
    };
    model.set_calibration(Some(map)).unwrap();
    model
}

/// The same head; with conformal scores if it is calibrated or makes masks of images.
fn with_scores(head: Head) -> Head {
    let scores = || Conformal::new((0..30).map(|i| f64::from(i) / 31.0).collect(), Some(0.9)).unwrap();
    let conformal = head.model.calibration().map(|_| scores());
    let score = |n: i32| ContourScore { outer: f64::from(n), inner: f64::from(40 - n) };
    let contours = || Contours::new(&(0..30).map(score).collect::<Vec<_>>(), 0.95, Some(0.9)).unwrap();
    let contours = (head.model.kind() == "segment").then(contours);
    Head { conformal, contours, ..head }
}

#[test]
fn only_a_head_that_is_calibrated_needs_a_newer_program() {
    let version = |head: &Head| {
        let text = String::from_utf8_lossy(&head.to_bytes().unwrap()).into_owned();
        let at = text.find(r#"\"version\":"#).unwrap() + r#"\"version\":"#.len();
        text[at..].chars().next().unwrap()
    };
    for head in every_kind().into_iter().chain([head()]) {
        let newer = head.model.calibration().is_some() || head.conformal.is_some() || head.contours.is_some();
        assert_eq!(version(&head), if newer { '4' } else { '3' });
    }
    let scores = Conformal::new(vec![0.5; 30], None).unwrap();
    assert_eq!(version(&Head { conformal: Some(scores), ..head() }), '4');
}

#[test]
fn what_a_file_says_of_its_certainty_is_honoured_or_refused() {
    let names = vec!["a".to_owned(), "b".to_owned()];
    let whole = with_scores(Head { model: calibrated(&names), ..head() });
    let bytes = whole.to_bytes().unwrap();
    let edit = |from: &str, to: &str| {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
        assert!(header.contains(from), "{header}");
        let header = header.replacen(from, to, 1);
        let all = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes[8 + length..]];
        resealed(all.concat())
    };
    for (from, to, says) in [
        (r#"[\"platt\""#, r#"[\"isotonic\""#, "isotonic"),
        (r#"[\"platt\""#, r#"[\"temperature\""#, "calibration.temperature"),
        ("\"calibration.platt\"", "\"calibration.plott\"", "'calibration.platt' is missing"),
        ("\"conformal.scores\"", "\"conformal.skores\"", "'conformal.scores' is missing"),
        ("\"conformal.coverage\"", "\"conformal.koverage\"", "'conformal.coverage' is missing"),
    ] {
        let text = refusal(&edit(from, to));
        assert!(text.contains(says), "{from} -> {to}: {text}");
    }
    // Numbers that are no calibration, no scores, and a coverage that 30 scores do not give.
    let changed = |name: &str, value: f64| {
        let mut bytes = bytes.clone();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let data = tensors.tensor(name).unwrap().data().as_ptr() as usize - bytes.as_ptr() as usize;
        assert!(data >= 8 + length);
        bytes[data..data + 8].copy_from_slice(&value.to_le_bytes());
        resealed(bytes)
    };
    for (name, value, says) in [
        ("calibration.platt", -1.0, "must be positive"),
        ("conformal.scores", 0.9, "ascending"),
        ("conformal.scores", -0.5, "ascending"),
        ("conformal.coverage", 0.99, "needs 99 images"),
    ] {
        let text = refusal(&changed(name, value));
        assert!(text.contains(says), "{name} {value}: {text}");
    }
    assert!(Head::from_bytes(&changed("conformal.coverage", 0.8)).is_ok());
}

#[test]
fn is_read_as_it_was_written_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    for head in every_kind().into_iter().chain([head()]) {
        head.save(&path).unwrap();
        let loaded = Head::load(&path).unwrap();
        assert!(loaded == head, "{}", head.model.kind());
        let first = std::fs::read(&path).unwrap();
        loaded.save(&path).unwrap();
        assert!(std::fs::read(&path).unwrap() == first);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}

#[test]
fn a_fitted_head_records_its_fit_and_where_its_examples_come_from() {
    let mut data = phantom_dataset(1, 6, 64);
    data.samples.iter_mut().for_each(|sample| sample.split = None);
    let parts = data.split(1, 0.25).unwrap();
    let geometry = Geometry { kind: ScanKind::Image, size: (64, 64), crop: None, spacing: None };
    let rows = |i| Array2::from_shape_fn((1, 4), |(_, j)| ((i * 5 + j * j * 3) % 11) as f32);
    let features: Vec<ScanFeatures> =
        (0..data.samples.len()).map(|i| ScanFeatures { rows: rows(i), tokens: None, geometry }).collect();
    let set =
        EvaluationSet { data: &data, mask_classes: &[], features: &features, masks: &[], multi_label: false };
    let read = ReadOptions { crop_us: true, max_frames: Some(9), ..ReadOptions::default() };
    let provenance = Provenance { read, drawn: DrawnSplit::of(&data, 1, 0.25) };
    let search = ProbeSearch { grid: vec![0.1], refit: true, ..ProbeSearch::default() };
    let fit = FitOptions { class_weights: ClassWeights::Balanced, ..FitOptions::default() };
    let abmil = AbmilOptions { epochs: 1, seed: 7, ..AbmilOptions::default() };
    for (recipe, c, seed, (balanced, refit)) in [
        (Recipe::Linear(search, fit), Some(0.1), None, (true, true)),
        (Recipe::knn(), None, None, (false, false)),
        (Recipe::Abmil(abmil), None, Some(7), (false, false)),
    ] {
        let fitted = recipe.fit(&set, &parts.train, &parts.val, Isa::best(), &mut |_, _| {}).unwrap();
        let (about, examples) = (about("ffff", 0), (&parts.train[..], &parts.val[..]));
        let (size, validation) = (Size::square(64), ValidationSummary { images: 3, ..Default::default() });
        let head =
            Head::fitted(&about, size, &set, examples, fitted, validation, provenance.clone()).unwrap();
        let expected = TrainingSummary {
            images_per_class: head.training.images_per_class.clone(),
            c,
            epoch: seed.map(|_| 1),
            seed,
            balanced,
            refit,
            validation: Some(validation),
            drawn: Some(DrawnSplit { digest: data.digest(), seed: 1, val_share: 0.25 }),
            ..Default::default()
        };
        assert_eq!(head.training, expected);
        assert_eq!(head.training.images_per_class.iter().sum::<usize>(), parts.train.len());
        // How many frames are read at most is said at each call.
        assert_eq!(head.read, ReadOptions { crop_us: true, ..ReadOptions::default() });
    }
}

#[test]
fn a_head_of_any_kind_with_a_tensor_cut_or_renamed_is_refused() {
    for head in every_kind() {
        let bytes = head.to_bytes().unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        for name in tensors.names() {
            let mut renamed = bytes.clone();
            let key = format!("\"{name}\":");
            let at = bytes[8..8 + length].windows(key.len()).position(|w| w == key.as_bytes()).unwrap();
            renamed[8 + at + 1] = b'#';
            // Without its scales the int8 bank has the wrong type; without `ood.mean` the rest of `ood` is ignored.
            let result = Head::from_bytes(&resealed(renamed));
            assert!(result.is_err() || name == "ood.mean", "{} without {name}", head.model.kind());
        }
    }
}

#[test]
fn a_head_that_could_not_be_read_back_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = head();
    head.backbone.sha256 = "unknown".into();
    assert!(head.save(folder.path().join("head.safetensors")).is_err());
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[test]
fn refuses_another_backbone_and_names_both() {
    assert!(head().check_backbone(&about(&"0123456789ABCDEF".repeat(4), 0)).is_ok());
    let text = head().check_backbone(&about("ffff", 0)).unwrap_err().to_string();
    assert!(text.contains("deit-tiny") && text.contains("0123456789abcdef0") && text.contains("ffff"));
}

/// A head trained on a graph that tract runs records how its features were read; an older head does not.
#[test]
fn refuses_features_that_are_read_in_another_way() {
    let sha256 = "0123456789abcdef".repeat(4);
    let old = Head::from_bytes(&head().to_bytes().unwrap()).unwrap();
    let text = old.check_backbone(&about(&sha256, 1)).unwrap_err().to_string();
    assert!(text.contains("deit-tiny") && text.ends_with("train the head again"), "{text}");
    let trained = Head { backbone: Backbone::of(&about(&sha256, 1)), ..head() };
    let read = Head::from_bytes(&trained.to_bytes().unwrap()).unwrap();
    assert_eq!(read, trained);
    assert!(read.check_backbone(&about(&sha256, 1)).is_ok());
    assert!(
        read.check_backbone(&about(&sha256, 0)).is_err() && read.check_backbone(&about(&sha256, 2)).is_err()
    );
}

#[test]
fn every_cut_is_refused() {
    let bytes = head().to_bytes().unwrap();
    for length in 0..bytes.len() {
        assert!(Head::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
    refusal(&bytes[..bytes.len() - 1]);
    refusal(&[]);
}

/// For heads of every kind: bits throughout the file, and one bit in each byte of the header.
#[test]
fn every_flipped_bit_is_refused() {
    for head in every_kind().into_iter().chain([head()]) {
        let bytes = head.to_bytes().unwrap();
        assert!(Head::from_bytes(&bytes).is_ok());
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let step = (bytes.len() * 8 / 2000).max(1);
        let places = (0..header).map(|at| at * 8 + at % 8).chain((0..bytes.len() * 8).step_by(step));
        for bit in places {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::from_bytes(&flipped).is_err(), "{} with bit {bit} flipped", head.model.kind());
        }
    }
}

#[test]
fn a_changed_number_or_name_is_refused_for_its_digest() {
    let mut weight = head().to_bytes().unwrap();
    let end = weight.len();
    // Flip the sign of the last number.
    weight[end - 1] ^= 0x80;
    let swapped = edited(r#"\"benign\",\"malignant \\\"?\\\"\""#, r#"\"malignant \\\"?\\\"\",\"benign\""#);
    let other_size = edited("224x352", "448x352");
    let padded = [head().to_bytes().unwrap(), vec![0]].concat();
    for (what, bytes) in [("weight", weight), ("names", swapped), ("size", other_size)] {
        assert!(refusal(&bytes).contains("its digest is not that of its bytes"), "{what}");
        assert!(Head::from_bytes(&resealed(bytes)).is_ok(), "{what}: nothing but the digest tells");
    }
    refusal(&padded);
}

#[test]
fn the_digest_that_is_reported_is_of_the_bytes_that_were_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    head().save(&path).unwrap();
    let (found, sha256) = Head::read(&path).unwrap();
    assert!(found == head());
    // The same digest as `sha256sum` prints.
    assert_eq!(sha256, sealed::sha256(&std::fs::read(&path).unwrap()));
}

#[test]
fn a_header_that_lies_is_refused() {
    let bytes = head().to_bytes().unwrap();
    let mut lying = bytes.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    refusal(&lying);
    lying[..8].copy_from_slice(&99_000_000u64.to_le_bytes());
    refusal(&lying);
    for shape in ["[2,4611686018427387904]", "[4,1]", "[2,3]"] {
        refusal(&resealed(edited("\"shape\":[2,2]", &format!("\"shape\":{shape}"))));
    }
}

#[test]
fn names_what_is_wrong() {
    for (from, to, says) in [
        ("\\\"version\\\":3", "\\\"version\\\":2", "version 2"),
        ("\\\"version\\\":3", "\\\"version\\\":7", "version 7"),
        ("\\\"kind\\\":\\\"linear\\\"", "\\\"kind\\\":\\\"mlp\\\"", "'mlp'"),
        (METADATA, "format", "microraptor train"),
        ("\"bias\"", "\"baas\"", "'bias' is missing"),
        ("\"mean\"", "\"meen\"", "'mean' is missing"),
        ("\"F64\",\"shape\":[2,2]", "\"I64\",\"shape\":[2,2]", "'weight' is I64"),
        ("\\\"224x352\\\"", "\\\"0\\\"", "input size"),
        ("\\\"benign\\\"", "\\\"\\\"", "empty name"),
        ("0123456789abcdef", "0123456789ABCDEF", "hexadecimal"),
        ("\\\"std\\\":[0.229", "\\\"std\\\":[0.0", "preprocessing"),
    ] {
        let text = refusal(&resealed(edited(from, to)));
        assert!(text.contains(says), "{from} -> {to}: {text}");
    }
    let mut nan = head().to_bytes().unwrap();
    let end = nan.len();
    nan[end - 8..].copy_from_slice(&f64::NAN.to_le_bytes());
    assert!(refusal(&resealed(nan)).contains("NaN"));
    assert!(Head::load(Path::new("no/such/head")).unwrap_err().to_string().contains("no/such/head"));
}
