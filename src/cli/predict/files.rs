//! Files that predictions leave: masks, overlays, DICOM objects.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microraptor::engine::About;
use microraptor::heads::{FeatureKind, Outcome};
use microraptor::input::{LabelMap, ReadOptions, Region, Scan, ScanInfo};
use microraptor::output::{write_mask, write_overlay};
use serde_json::json;

use super::line::HeadLine;
use super::{Loaded, PredictArgs};

/// Where files go, and which have been written.
pub struct Files<'a> {
    args: &'a PredictArgs,
    /// Whether the head's name must be in the file's, because several heads write.
    several: bool,
    written: BTreeSet<PathBuf>,
}

impl<'a> Files<'a> {
    /// Makes the folders.
    pub fn new(args: &'a PredictArgs, heads: &[Loaded]) -> anyhow::Result<Files<'a>> {
        let dense = heads.iter().any(|loaded| loaded.head.model.features() == FeatureKind::Patch);
        for (option, folder) in [("--masks", &args.masks), ("--overlays", &args.overlays)] {
            if folder.is_some() && !dense {
                bail!("{option}: none of the heads makes masks; give one that `train --head segment` wrote");
            }
        }
        for folder in [&args.masks, &args.overlays, &args.dicom].into_iter().flatten() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        #[cfg(not(feature = "dicom"))]
        if args.dicom.is_some() {
            bail!("--dicom: this build cannot write DICOM (built without the feature dicom)");
        }
        Ok(Files { args, several: heads.len() > 1, written: BTreeSet::new() })
    }

    /// Writes what was asked for of one head on one input, and notes it in `line`.
    #[expect(clippy::too_many_arguments, reason = "one of each")]
    pub fn write(
        &mut self,
        path: &Path,
        info: &ScanInfo,
        read: &ReadOptions,
        loaded: &Loaded,
        outcome: &Outcome,
        about: &About,
        line: &mut HeadLine,
    ) -> anyhow::Result<()> {
        let classes = loaded.head.model.classes().len();
        if let (Outcome::Mask(mask), Some(folder)) = (outcome, &self.args.masks) {
            let stem = folder.join(self.stem(path, loaded));
            if let Some(nifti) = self.write_nifti(&stem, info, mask)? {
                line.written.insert("nifti".into(), json!(nifti));
            } else {
                let names =
                    self.each_frame(&stem, mask, |path, z| Ok(write_mask(path, mask, z, classes)?))?;
                line.written.insert("mask".into(), names);
            }
        }
        if let (Outcome::Mask(mask), Some(folder)) = (outcome, &self.args.overlays) {
            if path == Path::new("-") {
                bail!("--overlays: standard input is read once, and its frames are gone by then; give files");
            }
            let shown = self.shown(path, info)?;
            let stem = folder.join(self.stem(path, loaded) + ".overlay");
            let mut scan = Scan::open(path, read)?;
            if scan.info().files != info.files {
                bail!(
                    "{}: other files are there than before: run it again when nothing writes to it",
                    path.display()
                );
            }
            let names = self.each_frame(&stem, mask, |path, z| {
                let frame = scan.next().context("the file changed while it was read")??;
                let frame = shown.map_or(frame.clone(), |region| frame.only(region));
                let seen = info.crop.map(|region| mask.cropped(region));
                Ok(write_overlay(path, &frame, seen.as_ref().unwrap_or(mask), z)?)
            })?;
            line.written.insert("overlay".into(), names);
        }
        self.write_dicom(path, info, loaded, outcome, about, line)
    }

    /// The part of a frame that an overlay may show, if not all: DICOM's pixels may hold the patient's name.
    fn shown(&self, path: &Path, info: &ScanInfo) -> anyhow::Result<Option<Region>> {
        let Some(dicom) = info.dicom.as_ref().filter(|dicom| dicom.may_show_text) else { return Ok(None) };
        if self.args.with_identifiers || info.crop.is_some() {
            return Ok(None);
        }
        if dicom.tissue.is_none() {
            bail!(
                "{}: --overlays: its pixels may show the patient's name (BurnedInAnnotation is not NO), and it marks no \
                 ultrasound region to show alone: give --with-identifiers, or leave --overlays out",
                path.display()
            );
        }
        Ok(dicom.tissue)
    }

    /// `scan`, or `scan.head` where several heads write.
    fn stem(&self, path: &Path, loaded: &Loaded) -> String {
        let name = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let lower = name.to_ascii_lowercase();
            let ending =
                [".nii.gz"].iter().find(|ending| lower.ends_with(**ending)).map(|ending| ending.len());
            let ending = ending.or_else(|| path.extension().map(|e| e.len() + 1)).unwrap_or(0);
            name[..name.len() - ending].to_owned()
        };
        let input = if path == Path::new("-") { "stdin".into() } else { name(path) };
        if self.several { format!("{input}.{}", name(&loaded.path)) } else { input }
    }

    /// Refuses to write a file twice: two inputs of one name in different folders.
    fn claim(&mut self, path: &Path) -> anyhow::Result<()> {
        if !self.written.insert(path.to_owned()) {
            bail!("{}: two inputs would be written there; run them into different folders", path.display());
        }
        Ok(())
    }

    /// Calls `write(path, slice)` for each frame: `stem.png`, or `stem-001.png` and so on.
    fn each_frame(
        &mut self,
        stem: &Path,
        mask: &LabelMap,
        mut write: impl FnMut(&Path, usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<serde_json::Value> {
        let mut names = Vec::with_capacity(mask.depth);
        for z in 0..mask.depth {
            let number = if mask.depth > 1 { format!("-{:03}", z + 1) } else { String::new() };
            let path = PathBuf::from(format!("{}{number}.png", stem.display()));
            self.claim(&path)?;
            write(&path, z)?;
            names.push(path.display().to_string());
        }
        Ok(if let [name] = names.as_slice() { json!(name) } else { json!(names) })
    }

    #[cfg(feature = "nifti")]
    fn write_nifti(
        &mut self,
        stem: &Path,
        info: &ScanInfo,
        mask: &LabelMap,
    ) -> anyhow::Result<Option<PathBuf>> {
        let Some(nifti) = &info.nifti else { return Ok(None) };
        let path = PathBuf::from(format!("{}.nii.gz", stem.display()));
        self.claim(&path)?;
        microraptor::output::write_nifti_labels(&path, nifti.dims, &nifti.affine, &nifti.restore(mask)?)?;
        Ok(Some(path))
    }

    #[cfg(not(feature = "nifti"))]
    fn write_nifti(&mut self, _: &Path, _: &ScanInfo, _: &LabelMap) -> anyhow::Result<Option<PathBuf>> {
        Ok(None)
    }

    /// A segmentation of a mask, or a structured report of probabilities.
    #[cfg(feature = "dicom")]
    fn write_dicom(
        &mut self,
        path: &Path,
        info: &ScanInfo,
        loaded: &Loaded,
        outcome: &Outcome,
        about: &About,
        line: &mut HeadLine,
    ) -> anyhow::Result<()> {
        use microraptor::output::dicom::{
            Algorithm, Code, Finding, OutOfDistribution, Segment, Sources, write_report, write_segmentation,
        };
        let Some(folder) = &self.args.dicom else { return Ok(()) };
        if info.dicom.is_none() {
            bail!("{}: --dicom writes objects that refer to a DICOM image, and this is none", path.display());
        }
        let kind = if matches!(outcome, Outcome::Mask(_)) { "seg" } else { "sr" };
        let to = folder.join(format!("{}.{kind}.dcm", self.stem(path, loaded)));
        self.claim(&to)?;
        let sources = Sources::open(&info.files)?;
        let algorithm = Algorithm {
            name: loaded.path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model_sha256: about.sha256.clone(),
            head_sha256: loaded.sha256.clone(),
        };
        let names = loaded.head.model.classes();
        let now = chrono::Local::now().naive_local();
        match outcome {
            Outcome::Mask(mask) => {
                let segments: Vec<Segment> = names[1..].iter().map(|name| Segment::new(name)).collect();
                write_segmentation(&to, &sources, mask, &segments, &algorithm, now)?;
            }
            Outcome::Classes { prediction, .. } => {
                let of = |c: usize| (Code::private(&names[c]), prediction.probabilities[c]);
                let score = line.ood.map(|ood| OutOfDistribution {
                    score: ood.score,
                    threshold: ood.threshold,
                    outside: ood.outside,
                });
                let finding = Finding {
                    name: algorithm.name.clone(),
                    algorithm,
                    finding: prediction.classes.first().map(|&c| Code::private(&names[c])),
                    probabilities: (0..names.len()).map(of).collect(),
                    measurements: Vec::new(),
                    out_of_distribution: score,
                };
                write_report(&to, &sources, &[finding], now)?;
            }
        }
        line.written.insert(format!("dicom_{kind}"), json!(to.display().to_string()));
        Ok(())
    }

    #[cfg(not(feature = "dicom"))]
    fn write_dicom(
        &mut self,
        _: &Path,
        _: &ScanInfo,
        _: &Loaded,
        _: &Outcome,
        _: &About,
        _: &mut HeadLine,
    ) -> anyhow::Result<()> {
        Ok(())
    }
}
