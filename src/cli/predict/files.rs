//! Output files of predictions: masks, overlays, DICOM objects.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use microraptor::engine::About;
use microraptor::files::{Access, Target};
use microraptor::heads::Outcome;
use microraptor::input::{LabelMap, ReadOptions, Region, Scan, ScanInfo};
use microraptor::names::shown;
use microraptor::output::{FileId, Inputs, write_contours, write_mask, write_overlay};
use serde_json::json;

use crate::cli::answering::Answering;
use crate::cli::args::PredictArgs;
use crate::cli::failure::one_line;
use crate::cli::head_line::HeadLine;
use crate::cli::loaded::Loaded;

/// An input, and what a head says of it.
#[derive(Clone, Copy)]
pub struct Answered<'a> {
    /// Where the input was read from.
    pub path: &'a Path,
    /// What the input is.
    pub info: &'a ScanInfo,
    /// How it was read.
    pub read: &'a ReadOptions,
    /// The head.
    pub loaded: &'a Loaded,
    /// The head's answer.
    pub outcome: &'a Outcome,
    /// The zones of its mask's contours.
    pub contours: Option<&'a LabelMap>,
    /// The model whose features the head read.
    #[cfg_attr(not(feature = "dicom"), allow(dead_code, reason = "only DICOM objects name it"))]
    pub about: &'a About,
}

/// Output folders, and the files written so far.
pub struct Files<'a> {
    args: &'a PredictArgs,
    /// Whether file names contain the head's name, because there are several heads.
    several: bool,
    written: BTreeSet<PathBuf>,
    /// Identities of the written files, independent of their names: on some disks `A.png` is `a.png`.
    known: HashSet<FileId>,
}

impl<'a> Files<'a> {
    /// Creates the folders, after checking that no input would be overwritten.
    pub fn new(
        args: &'a PredictArgs,
        chosen: &Answering,
        images: &[PathBuf],
        heads: &[Loaded],
    ) -> anyhow::Result<Files<'a>> {
        let dense = heads.iter().any(|loaded| loaded.head.model.makes_masks());
        for (option, folder) in [("--masks", &args.masks), ("--overlays", &args.overlays)] {
            if folder.is_some() && !dense {
                bail!("{option}: none of the heads makes masks; give one that `train --head segment` wrote");
            }
        }
        let (several, known) = (heads.len() > 1, HashSet::new());
        let files = Files { args, several, written: BTreeSet::new(), known };
        files.refuse_inputs(chosen, images, heads)?;
        for folder in [&args.masks, &args.overlays, &args.dicom, &args.explain].into_iter().flatten() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        #[cfg(not(feature = "dicom"))]
        if args.dicom.is_some() {
            bail!("--dicom: this build cannot write DICOM (built without the feature dicom)");
        }
        Ok(files)
    }

    /// Refuses folders in which an input would be overwritten.
    fn refuse_inputs(&self, chosen: &Answering, images: &[PathBuf], heads: &[Loaded]) -> anyhow::Result<()> {
        let Files { args, .. } = self;
        let folders = [&args.masks, &args.overlays, &args.dicom, &args.explain].into_iter().flatten();
        let folders: Vec<&PathBuf> = folders.filter(|folder| folder.is_dir()).collect();
        if folders.is_empty() {
            return Ok(());
        }
        let mut read = Inputs::default();
        chosen.add_files(&mut read);
        args.classes.iter().chain(images).for_each(|path| read.add(path));
        let stems: Vec<OsString> =
            images.iter().flat_map(|image| heads.iter().map(|loaded| self.stem(image, loaded))).collect();
        for folder in folders {
            if let Some(bag) =
                images.iter().find(|path| path.is_dir() && FileId::of(path) == FileId::of(folder))
            {
                bail!("{}: is read as one clip or volume: write into another folder", bag.display());
            }
            read.refuse_in(folder, |name| written_over(name, &stems))?;
            // File systems fold more in names than case.
            let pictures = [".png", ".overlay.png", ".explain.png", ".inner.png", ".outer.png"];
            for ending in OBJECTS.iter().chain(&pictures) {
                stems.iter().try_for_each(|stem| read.refuse(&with_ending(&folder.join(stem), ending)))?;
            }
        }
        Ok(())
    }

    /// Writes the requested files for one head on one input, and records them in `line`.
    pub fn write(&mut self, answered: Answered, line: &mut HeadLine) -> anyhow::Result<()> {
        let Answered { path, info, loaded, outcome, contours, .. } = answered;
        let classes = loaded.head.model.classes().len();
        let access = if info.dicom.is_some() { Access::Owner } else { Access::Usual };
        if let (Outcome::Mask(mask), Some(folder)) = (outcome, &self.args.masks) {
            let stem = folder.join(self.stem(path, loaded));
            if let Some(nifti) = self.write_nifti(&stem, info, mask)? {
                line.written.insert("nifti".into(), json!(shown(nifti)));
            } else {
                let names = self.each_frame(&stem, info, mask.depth, |path, z| {
                    Ok(write_mask(Target { path, access }, mask, z, classes)?)
                })?;
                line.written.insert("mask".into(), names);
            }
        }
        if let (Outcome::Mask(mask), Some(folder)) = (outcome, &self.args.overlays) {
            let shown = self.shown(path, info, "--overlays")?;
            let stem = with_ending(&folder.join(self.stem(path, loaded)), ".overlay");
            let mut scan = Files::again(answered, "--overlays")?;
            let names = self.each_frame(&stem, info, mask.depth, |path, z| {
                let frame = scan.next().context("the file changed while it was read")??;
                let frame = shown.map_or(frame.clone(), |region| frame.only(region));
                let seen =
                    |map: &LabelMap| info.crop.map_or_else(|| map.clone(), |region| map.cropped(region));
                let (target, mask) = (Target { path, access }, seen(mask));
                match contours.map(seen) {
                    Some(zones) => write_contours(target, &frame, &mask, &zones, z)?,
                    None => write_overlay(target, &frame, &mask, z)?,
                }
                Ok(())
            })?;
            line.written.insert("overlay".into(), names);
        }
        self.write_dicom(answered, line)
    }

    /// The folder of heat maps.
    pub(super) fn explains(&self) -> Option<&Path> {
        self.args.explain.as_deref()
    }

    /// The frames of an input once more, for `option`.
    pub(super) fn again(answered: Answered, option: &str) -> anyhow::Result<Scan> {
        let Answered { path, info, read, .. } = answered;
        if path == Path::new("-") {
            bail!("{option}: standard input is read once, and its frames are gone by then; give files");
        }
        let scan = Scan::open(path, read)?;
        if scan.info().files != info.files {
            bail!(
                "{}: other files are there than before: run it again when nothing writes to it",
                path.display()
            );
        }
        Ok(scan)
    }

    /// The region of a frame that pictures of `option` may show; `None` for all of it. DICOM pixels may show the patient's
    /// name.
    pub(super) fn shown(&self, path: &Path, info: &ScanInfo, option: &str) -> anyhow::Result<Option<Region>> {
        let Some(dicom) = info.dicom.as_ref().filter(|dicom| dicom.may_show_text) else { return Ok(None) };
        if self.args.with_identifiers || info.crop.is_some() {
            return Ok(None);
        }
        if dicom.tissue.is_none() {
            bail!(
                "{}: {option}: its pixels may show the patient's name (BurnedInAnnotation is not NO), and it marks no \
                 ultrasound region to show alone: give --with-identifiers, or leave {option} out",
                path.display()
            );
        }
        Ok(dicom.tissue)
    }

    /// The folder of masks.
    pub(super) fn masks(&self) -> Option<&'a Path> {
        self.args.masks.as_deref()
    }

    /// `scan`, or `scan.head` if there are several heads.
    pub(super) fn stem(&self, path: &Path, loaded: &Loaded) -> OsString {
        let mut stem = if path == Path::new("-") { "stdin".into() } else { stem_of(path) };
        if self.several {
            stem.push(".");
            stem.push(stem_of(&loaded.path));
        }
        stem
    }

    /// Writes `path`, and refuses to write it twice: two inputs in different folders may have the same name.
    pub(super) fn put(
        &mut self,
        path: &Path,
        write: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.written.contains(path) || FileId::of(path).is_some_and(|id| self.known.contains(&id)) {
            bail!("{}: two inputs would be written there; run them into different folders", path.display());
        }
        write().map_err(|error| match self.written.len() {
            0 => error,
            n => anyhow!(
                "{}; written before it: {n} {}",
                one_line(&error),
                if n == 1 { "file" } else { "files" }
            ),
        })?;
        self.written.insert(path.to_owned());
        self.known.extend(FileId::of(path));
        Ok(())
    }

    /// Calls `write(path, slice)` for each frame, with the path `stem.png`, or `stem-001.png` and so on, numbered by
    /// the frame's number in its source. Returns the names in source order.
    pub(super) fn each_frame(
        &mut self,
        stem: &Path,
        info: &ScanInfo,
        depth: usize,
        mut write: impl FnMut(&Path, usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<serde_json::Value> {
        let mut names = Vec::with_capacity(depth);
        for z in 0..depth {
            let number = if depth > 1 { format!("-{:03}", info.number_of(z)) } else { String::new() };
            let path = with_ending(stem, &format!("{number}.png"));
            self.put(&path, || write(&path, z))?;
            names.push(shown(&path));
        }
        let names: Vec<&String> = info.source_order(depth).into_iter().map(|z| &names[z]).collect();
        Ok(if let [name] = names.as_slice() { json!(name) } else { json!(names) })
    }

    /// Writes `mask` on the grid of a NIfTI input, into `stem.nii.gz`.
    #[cfg(feature = "nifti")]
    pub(super) fn write_nifti(
        &mut self,
        stem: &Path,
        info: &ScanInfo,
        mask: &LabelMap,
    ) -> anyhow::Result<Option<PathBuf>> {
        use microraptor::output::write_nifti_labels;
        let Some(nifti) = &info.nifti else { return Ok(None) };
        let path = with_ending(stem, ".nii.gz");
        let labels = nifti.restore(mask)?;
        self.put(&path, || Ok(write_nifti_labels(&path, nifti.dims, &nifti.affine, &labels)?))?;
        Ok(Some(path))
    }

    #[cfg(not(feature = "nifti"))]
    pub(super) fn write_nifti(
        &mut self,
        _: &Path,
        _: &ScanInfo,
        _: &LabelMap,
    ) -> anyhow::Result<Option<PathBuf>> {
        Ok(None)
    }

    /// Writes a Segmentation of a mask, or a Structured Report of probabilities.
    #[cfg(feature = "dicom")]
    fn write_dicom(&mut self, answered: Answered, line: &mut HeadLine) -> anyhow::Result<()> {
        use crate::cli::objects;
        let Some(folder) = &self.args.dicom else { return Ok(()) };
        let Answered { path, info, loaded, outcome, about, .. } = answered;
        if info.dicom.is_none() {
            bail!("{}: --dicom writes objects that refer to a DICOM image, and this is none", path.display());
        }
        let kind = objects::kind(outcome);
        let to = with_ending(&folder.join(self.stem(path, loaded)), &format!(".{kind}.dcm"));
        self.put(&to, || objects::write(&to, info, loaded, outcome, line.ood, about))?;
        line.written.insert(format!("dicom_{kind}"), json!(shown(&to)));
        Ok(())
    }

    #[cfg(not(feature = "dicom"))]
    fn write_dicom(&mut self, _: Answered, _: &mut HeadLine) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Endings of outputs other than one picture per frame.
const OBJECTS: [&str; 7] =
    [".nii.gz", ".seg.dcm", ".sr.dcm", ".explain.json", ".explain.nii.gz", ".inner.nii.gz", ".outer.nii.gz"];

/// The output name, for inputs with these `stems`, that would overwrite the file `name` in an output folder. Case is
/// ignored, because on some disks `A.png` is `a.png`; the caller checks whether the output name is that file.
fn written_over(name: &OsStr, stems: &[OsString]) -> Option<OsString> {
    let name = name.as_encoded_bytes();
    stems.iter().find_map(|stem| {
        let stem_bytes = stem.as_encoded_bytes();
        let (front, rest) = name.split_at_checked(stem_bytes.len())?;
        let rest = std::str::from_utf8(rest).ok()?.to_ascii_lowercase();
        let same = front.eq_ignore_ascii_case(stem_bytes) && is_ending(&rest);
        same.then(|| with_ending(Path::new(stem), &rest).into_os_string())
    })
}

/// Whether `rest` is an ending of an output name, after its stem.
fn is_ending(rest: &str) -> bool {
    let Some(picture) = rest.strip_suffix(".png") else { return OBJECTS.contains(&rest) };
    let kinds = [".overlay", ".explain", ".inner", ".outer"];
    let number = kinds.iter().find_map(|kind| picture.strip_prefix(kind)).unwrap_or(picture);
    let is_number = |digits: &str| digits.len() >= 3 && digits.bytes().all(|b| b.is_ascii_digit());
    number.is_empty() || number.strip_prefix('-').is_some_and(is_number)
}

/// The file name without its extension, byte for byte. Digits alone are no extension but part of the name, as in a UID.
fn stem_of(path: &Path) -> OsString {
    let number = |e: &OsStr| e.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    if path.extension().is_some_and(number) {
        return path.file_name().unwrap_or_default().to_owned();
    }
    // `.nii.gz` is one extension.
    let zipped = path.file_stem().map(Path::new).filter(|_| ends_in(path.extension(), "gz"));
    match zipped.filter(|inner| ends_in(inner.extension(), "nii")) {
        Some(inner) => inner.file_stem().unwrap_or_default().to_owned(),
        None => path.file_stem().unwrap_or_default().to_owned(),
    }
}

fn ends_in(extension: Option<&OsStr>, ending: &str) -> bool {
    extension.is_some_and(|e| e.eq_ignore_ascii_case(ending))
}

/// `stem` followed by `ending`, byte for byte.
pub(super) fn with_ending(stem: &Path, ending: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_taken_off_and_numbers_are_not() {
        for (name, stem) in [
            ("a/scan.png", "scan"),
            ("scan.nii.gz", "scan"),
            ("scan.b.NII.GZ", "scan.b"),
            ("scan.gz", "scan"),
            ("IM0001", "IM0001"),
            ("1.2.840.7", "1.2.840.7"),
            (".dcm", ".dcm"),
        ] {
            assert_eq!(stem_of(Path::new(name)), stem, "{name}");
        }
    }

    #[test]
    fn names_that_outputs_may_take_are_known() {
        let stems = ["scan".into(), "b".into()];
        for (name, written) in [
            ("scan.png", Some("scan.png")),
            ("SCAN.PNG", Some("scan.png")),
            ("b-001.png", Some("b-001.png")),
            ("b.overlay-1234.png", Some("b.overlay-1234.png")),
            ("scan.seg.dcm", Some("scan.seg.dcm")),
            ("b.explain-001.png", Some("b.explain-001.png")),
            ("scan.explain.json", Some("scan.explain.json")),
            ("b.Inner.png", Some("b.inner.png")),
            ("b.outer-012.png", Some("b.outer-012.png")),
            ("scan.outer.nii.gz", Some("scan.outer.nii.gz")),
            ("scan.dcm", None),
            ("scan-01.png", None),
            ("scanner.png", None),
        ] {
            assert_eq!(written_over(OsStr::new(name), &stems), written.map(OsString::from), "{name}");
        }
    }
}
