//! Reads DICOM images, cine loops and series (PS3.3, PS3.5, PS3.10) with the dicom-rs crates.
//!
//! `file.rs` opens a file without its pixels: `meta.rs` reads its beginning, `elements.rs` the elements before the
//! pixels, and `fragments.rs` locates compressed frames; `attributes.rs` returns the elements' values. `layout.rs`
//! checks the header's description of the pixels, `codec.rs` decodes a frame (with `jpeg.rs`, `j2k/` and `rle.rs`) to
//! samples (`samples.rs`), and `render.rs` makes an image of them (with `lut.rs` and `window.rs`). `geometry.rs` sorts
//! slices, `lattice.rs` computes their positions, `regions.rs` finds the image area of an ultrasound image,
//! `modality.rs` lists the modalities on which the model fails, and `burned_in.rs` decides whether the pixels may show
//! text.

mod attributes;
mod burned_in;
mod bytes;
mod codec;
mod damaged;
mod elements;
mod file;
mod fragments;
mod geometry;
mod guarded;
mod j2k;
mod jpeg;
#[cfg(feature = "nifti")]
mod lattice;
mod layout;
mod lut;
mod meta;
mod modality;
mod regions;
mod render;
mod rle;
mod samples;
mod window;

use std::path::{Path, PathBuf};

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use attributes::{exactly, string};
use file::DicomFile;
pub(crate) use file::elements;
use geometry::Plane;
pub use j2k::{
    Codestream, Decoder, JPEG2000_VARIABLE, decode_codestream, refuse_codestream, set_jpeg2000_decoder,
};
#[cfg(feature = "nifti")]
pub(super) use lattice::lattice;
use layout::Layout;
use render::Rendering;
use samples::Samples;

use super::scan::{Frames, Scan};
use super::scan_info::{DicomInfo, Identifiers, ScanInfo, ScanKind, SourceFrame, Spacing};
use super::{Image, InputError, ReadOptions, Region, Window, say};

/// A file with all that is needed to decode its frames.
struct Source {
    file: DicomFile,
    layout: Layout,
    rendering: Rendering,
}

impl Source {
    fn open(path: &Path, window: Option<Window>) -> Result<Source, InputError> {
        let file = DicomFile::open(path)?;
        let wrong = |problem: String| InputError::unreadable(path, problem);
        let layout = Layout::of(&file).map_err(wrong)?;
        let rendering = Rendering::of(&file.object, &layout, window).map_err(wrong)?;
        Ok(Source { file, layout, rendering })
    }

    fn samples(&self, frame: usize) -> Result<Samples, InputError> {
        let bytes = self.file.frame(frame, self.layout.native_bytes() as u64);
        let samples = bytes.and_then(|bytes| codec::decode(&self.layout, self.file.syntax, bytes));
        samples.map_err(|problem| self.wrong(frame, &problem))
    }

    fn image(&self, frame: usize, range: Option<[f64; 2]>) -> Result<Image, InputError> {
        let samples = self.samples(frame)?;
        let image = self.rendering.image(&self.file.object, &self.layout, samples, frame, range);
        image.map_err(|problem| self.wrong(frame, &problem))?
    }

    /// The smallest and largest value of all frames, combined with `known`.
    fn range(&self, known: Option<[f64; 2]>) -> Result<Option<[f64; 2]>, InputError> {
        let mut range = known;
        for frame in 0..self.layout.frames {
            let samples = self.samples(frame)?;
            let found = self.rendering.range(&self.file.object, &self.layout, &samples, frame);
            range = match (range, found) {
                (Some([a, b]), Some([c, d])) => Some([a.min(c), b.max(d)]),
                (range, found) => range.or(found),
            };
        }
        Ok(range)
    }

    fn wrong(&self, frame: usize, problem: &str) -> InputError {
        let frames = self.layout.frames;
        let place = if frames > 1 { format!("frame {} ", frame + 1) } else { String::new() };
        InputError::unreadable(&self.file.path, format!("{place}{problem}"))
    }
}

/// Opens one file: an image, or a clip or volume if it has several frames.
pub(super) fn open_file(path: &Path, options: &ReadOptions) -> Result<Scan, InputError> {
    let source = Source::open(path, options.window)?;
    let mut info = describe(path, &source, options)?;
    let planes: Vec<Plane> =
        (0..source.layout.frames).map(|frame| Plane::of(&source.file.object, frame)).collect();
    info.frames = Some(source.layout.frames);
    info.files = vec![path.into()];
    let mut order: Vec<usize> = (0..planes.len()).collect();
    let placed = planes.len() > 1 && planes.iter().all(|plane| plane.position.is_some());
    if placed && planes.windows(2).any(|pair| pair[0].position != pair[1].position) {
        info.kind = ScanKind::Volume;
        let stack = geometry::stack(&planes)
            .map_err(|fault| InputError::unreadable(path, fault.named(|n| format!("frame {}", n + 1))))?;
        order = stack.order;
        info.spacing = Some(Spacing { slices: Some(stack.gap), ..stack.in_plane });
    } else if planes.len() > 1 {
        info.kind = ScanKind::Clip;
    }
    if let Some(dicom) = &mut info.dicom {
        dicom.frames_per_file = vec![source.layout.frames];
        dicom.positions = order.iter().filter_map(|&frame| planes[frame].position).collect();
    }
    info.source_frames = order.iter().map(|&n| SourceFrame { file: 0, frame: n + 1 }).collect();
    let needs_range = source.rendering.needs_range(&source.file.object, &source.layout);
    let range = if needs_range { source.range(None)? } else { None };
    let crop = info.crop;
    let frames: Frames =
        Box::new(order.into_iter().map(move |frame| Ok(cropped(source.image(frame, range)?, crop))));
    Ok(Scan::new(info, frames))
}

/// Opens one series of single-frame files, in any order.
pub(super) fn open_series(
    folder: &Path,
    files: Vec<PathBuf>,
    options: &ReadOptions,
) -> Result<Scan, InputError> {
    let wrong = |problem: String| InputError::unreadable(folder, problem);
    let mut slices = Vec::with_capacity(files.len());
    let mut range = None;
    for path in files {
        let source = Source::open(&path, options.window)?;
        if source.layout.frames > 1 {
            return Err(wrong(format!("has several frames in {}: give that file itself", path.display())));
        }
        if source.rendering.needs_range(&source.file.object, &source.layout) {
            range = source.range(range)?;
        }
        slices.push(Slice::of(&path, &source, options)?);
    }
    check_series(folder, &slices)?;
    let planes: Vec<Plane> = slices.iter().map(|slice| slice.plane.clone()).collect();
    let file_name = |n: usize| slices[n].path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stack = geometry::stack(&planes).map_err(|fault| wrong(fault.named(file_name)))?;
    let mut info = slices[stack.order[0]].info.clone();
    info.name = folder.display().to_string();
    info.kind = ScanKind::Volume;
    info.frames = Some(slices.len());
    info.files = stack.order.iter().map(|&n| slices[n].path.clone()).collect();
    info.source_frames = (0..slices.len()).map(|file| SourceFrame { file, frame: 1 }).collect();
    info.spacing = Some(Spacing { slices: (slices.len() > 1).then_some(stack.gap), ..stack.in_plane });
    if let Some(dicom) = &mut info.dicom {
        let sorted = stack.order.iter().map(|&n| &slices[n]);
        dicom.sop_instance_uids = sorted
            .clone()
            .filter_map(|s| s.info.dicom.as_ref()?.sop_instance_uids.first().cloned())
            .collect();
        dicom.frames_per_file = vec![1; slices.len()];
        dicom.positions = sorted.filter_map(|s| s.plane.position).collect();
    }
    let (crop, window) = (info.crop, options.window);
    let files = info.files.clone();
    let frames: Frames = Box::new(
        files.into_iter().map(move |path| Ok(cropped(Source::open(&path, window)?.image(0, range)?, crop))),
    );
    Ok(Scan::new(info, frames))
}

/// A file of a series, before the slices are sorted.
struct Slice {
    path: PathBuf,
    plane: Plane,
    info: ScanInfo,
}

impl Slice {
    fn of(path: &Path, source: &Source, options: &ReadOptions) -> Result<Slice, InputError> {
        let plane = Plane::of(&source.file.object, 0);
        Ok(Slice { path: path.into(), plane, info: describe(path, source, options)? })
    }
}

/// Refuses files that belong to several series or have different sizes.
fn check_series(folder: &Path, slices: &[Slice]) -> Result<(), InputError> {
    // The message names each series by its first file, because UIDs may contain dates.
    let mut series: Vec<(&str, &Path, usize)> = Vec::new();
    for slice in slices {
        let uid = slice.info.dicom.as_ref().map_or("", |d| d.series_instance_uid.as_str());
        match series.iter_mut().find(|(known, ..)| *known == uid) {
            Some((.., count)) => *count += 1,
            None => series.push((uid, &slice.path, 1)),
        }
    }
    if series.len() > 1 {
        let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
        let list: Vec<String> = series
            .iter()
            .map(|(_, first, count)| format!("that of {} ({count} files)", name(first)))
            .collect();
        let problem = format!("holds {} series: give each its own folder: {}", list.len(), list.join(", "));
        return Err(InputError::unreadable(folder, problem));
    }
    let first = &slices[0];
    for slice in slices {
        if slice.info.size != first.info.size {
            let size = |slice: &Slice| {
                slice.info.size.map_or(String::new(), |(rows, columns)| format!("{columns}x{rows} px"))
            };
            let problem = format!(
                "mixes slices of {} ({}) and {} ({}): keep those of one volume",
                size(first),
                first.path.display(),
                size(slice),
                slice.path.display()
            );
            return Err(InputError::unreadable(folder, problem));
        }
    }
    Ok(())
}

/// Warns about attributes that change the appearance of the pixels and are not applied: aspect ratio, colour profile,
/// overlays.
fn say_unapplied(info: &ScanInfo, object: &InMemDicomObject) {
    // Both attributes give the height before the width.
    match (exactly(object, tags::PIXEL_ASPECT_RATIO), info.spacing) {
        (Some([height, width]), _) => say::aspect(&info.name, height, width),
        (None, Some(spacing)) => say::aspect(&info.name, spacing.rows, spacing.columns),
        (None, None) => {}
    }
    if let Some(profile) = object.element_opt(tags::ICC_PROFILE).ok().flatten()
        && let Ok(profile) = profile.to_bytes()
    {
        say::profile(&info.name, &profile);
    }
    // Groups 6000 to 601E, PS3.3 C.9.2.
    if object.iter().any(|element| matches!(element.header().tag, Tag(0x6000..=0x601E, 0x0010))) {
        say::first("an overlay", &info.name, "has overlays, which are not drawn");
    }
}

/// Describes a scan, except for the order of its frames; an error if its modality is not supported.
fn describe(path: &Path, source: &Source, options: &ReadOptions) -> Result<ScanInfo, InputError> {
    let object = &source.file.object;
    let layout = &source.layout;
    let text = |tag| string(object, tag);
    let caution = modality::caution(object);
    if let Some(reason) = &caution
        && !options.allow_unsupported_modality
    {
        return Err(InputError::Modality { path: path.into(), reason: reason.clone() });
    }
    let mut info = ScanInfo::plain(path.display().to_string(), ScanKind::Image, vec![]);
    Image::check_sides(&info.name, layout.columns, layout.rows)?;
    info.size = Some((layout.rows, layout.columns));
    info.caution = caution;
    info.spacing = Plane::of(object, 0).spacing.or_else(|| regions::spacing(object, layout));
    info.frame_rate = frame_rate(object);
    say_unapplied(&info, object);
    if options.crop_us {
        let region =
            regions::largest(object, layout).map_err(|problem| InputError::unreadable(path, problem))?;
        Image::check_sides(&format!("the ultrasound region of {}", info.name), region.width, region.height)?;
        info.crop = Some(region);
    }
    let modality = text(tags::MODALITY).unwrap_or_default();
    info.dicom = Some(DicomInfo {
        may_show_text: burned_in::may_show_text(object),
        tissue: regions::largest(object, layout).ok(),
        sop_class_uid: text(tags::SOP_CLASS_UID).unwrap_or_default(),
        sop_instance_uids: vec![text(tags::SOP_INSTANCE_UID).unwrap_or_default()],
        study_instance_uid: text(tags::STUDY_INSTANCE_UID).unwrap_or_default(),
        series_instance_uid: text(tags::SERIES_INSTANCE_UID).unwrap_or_default(),
        frame_of_reference_uid: text(tags::FRAME_OF_REFERENCE_UID),
        modality,
        transfer_syntax_uid: source.file.syntax.uid().into(),
        photometric_interpretation: text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default(),
        frames_per_file: vec![layout.frames],
        orientation: Plane::of(object, 0).orientation,
        positions: vec![],
    });
    info.identifiers = Some(Identifiers {
        patient_name: text(tags::PATIENT_NAME),
        patient_id: text(tags::PATIENT_ID),
        birth_date: text(tags::PATIENT_BIRTH_DATE),
        study_date: text(tags::STUDY_DATE),
        accession_number: text(tags::ACCESSION_NUMBER),
    });
    Ok(info)
}

/// Frames a second: of the frame time in milliseconds, else of the cine rate (PS3.3 C.7.6.5). `None` where each frame has
/// a time of its own (Frame Time Vector).
fn frame_rate(object: &InMemDicomObject) -> Option<f64> {
    let [time] = exactly(object, tags::FRAME_TIME).unwrap_or_default();
    let [rate] = exactly(object, tags::CINE_RATE).unwrap_or_default();
    let rate = if time > 0.0 { 1e3 / time } else { rate };
    let varies = object.element_opt(tags::FRAME_TIME_VECTOR).ok().flatten().is_some();
    (rate > 0.0 && rate.is_finite() && !varies).then_some(rate)
}

fn cropped(image: Image, crop: Option<Region>) -> Image {
    match crop {
        Some(region) => image.crop(region),
        None => image,
    }
}

/// The samples of a DICOM file as stored, for inspection and for comparison with other readers. They are not windowed,
/// and not converted to RGB unless the codec does so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DicomSamples {
    /// Number of frames, rows, columns and samples per pixel.
    pub shape: [usize; 4],
    /// Bits per sample: 8 or 16.
    pub bits: u32,
    /// Samples in the order of `shape`, row-major, little-endian.
    pub bytes: Vec<u8>,
}

/// Decodes all frames of a DICOM file into memory.
///
/// # Errors
/// [`InputError`] names the file, as [`Scan::open`] does.
pub fn dicom_samples(path: impl AsRef<Path>) -> Result<DicomSamples, InputError> {
    let source = Source::open(path.as_ref(), None)?;
    let Layout { rows, columns, frames, samples, allocated, .. } = source.layout;
    let mut bytes = Vec::new();
    for frame in 0..frames {
        bytes.append(&mut render::interleaved(&source.layout, source.samples(frame)?));
    }
    Ok(DicomSamples { shape: [frames, rows, columns, samples], bits: allocated, bytes })
}
