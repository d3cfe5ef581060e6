//! The DICOM files that an output refers to, without their pixels.

use std::path::{Path, PathBuf};

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::uid;
use crate::input::{ScanInfo, SourceFrame, dicom_elements};
use crate::output::{OutputError, SourceError};

/// Source instances of one study, and the order of their frames in the output.
pub struct Sources {
    pub(super) instances: Vec<Instance>,
    /// Number of frames in all files.
    pub(super) frames: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// File and frame number of each output frame; empty if the frames are in file order.
    order: Vec<SourceFrame>,
}

/// One source file.
pub(super) struct Instance {
    pub path: PathBuf,
    /// The elements before the pixels that this program reads (`input/dicom/elements.rs`).
    pub object: InMemDicomObject,
    pub class: String,
    pub uid: String,
    pub series: String,
    pub study: String,
    /// Number of frames, at least 1.
    pub frames: usize,
}

/// Position of a frame in the patient, with values written as in the source.
#[derive(Clone, PartialEq)]
pub(super) struct Place {
    pub position: String,
    pub orientation: String,
    pub spacing: String,
    pub thickness: Option<String>,
}

impl Sources {
    /// The files of a scan; frame n of the output is the n-th frame that the scan yielded.
    ///
    /// # Errors
    /// As [`Sources::open`]; also [`OutputError::Source`] if a file has fewer frames than the scan read from it.
    pub fn of_scan(info: &ScanInfo) -> Result<Sources, OutputError> {
        let mut sources = Sources::open(&info.files)?;
        for of in &info.source_frames {
            let Some(instance) = sources.instances.get(of.file) else { continue };
            if of.frame == 0 || of.frame > instance.frames {
                return Err(instance.wrong(SourceError::Frame(of.frame)));
            }
        }
        sources.order.clone_from(&info.source_frames);
        Ok(sources)
    }

    /// Reads the files up to their pixels. Frames are in the order of the files, and within a file in its own order. No
    /// more memory is allocated than a file's length justifies.
    ///
    /// # Errors
    /// [`OutputError::NoSources`] without files. [`OutputError::Source`] names the file: it is not DICOM, an identifier
    /// is missing or malformed, or its study or size differs from that of the first file.
    pub fn open(files: &[PathBuf]) -> Result<Sources, OutputError> {
        let mut sources =
            Sources { instances: Vec::new(), frames: 0, rows: 0, columns: 0, order: Vec::new() };
        for path in files {
            let instance = Instance::open(path)?;
            let side = |tag| match instance.count(tag)? {
                // These are 16-bit numbers, whatever the file's VR is.
                Some(side @ ..=0xFFFF) => Ok(side),
                _ => Err(instance.wrong(SourceError::Side { tag: tag.to_string() })),
            };
            let (rows, columns) = (side(tags::ROWS)?, side(tags::COLUMNS)?);
            if let Some(first) = sources.instances.first() {
                if (rows, columns) != (sources.rows, sources.columns) {
                    return Err(instance.wrong(SourceError::Size {
                        found: [columns, rows],
                        first: first.path.clone(),
                        expected: [sources.columns, sources.rows],
                    }));
                }
                if instance.study != first.study {
                    return Err(instance.wrong(SourceError::Study(first.path.clone())));
                }
            }
            (sources.rows, sources.columns) = (rows, columns);
            sources.frames = sources.frames.saturating_add(instance.frames);
            sources.instances.push(instance);
        }
        if sources.instances.is_empty() {
            return Err(OutputError::NoSources);
        }
        Ok(sources)
    }

    /// Number of frames in all files.
    pub fn frames(&self) -> usize {
        self.frames
    }

    pub(super) fn first(&self) -> &Instance {
        &self.instances[0]
    }

    /// The file of each frame, and the frame's number in it (from 1) if the file has several frames.
    pub(super) fn each_frame(&self) -> Vec<(&Instance, Option<usize>)> {
        let numbered = |instance: &Instance, number| (instance.frames > 1).then_some(number);
        let known = self.order.iter().filter_map(|of| Some((self.instances.get(of.file)?, of.frame)));
        let known: Vec<_> = known.map(|(instance, number)| (instance, numbered(instance, number))).collect();
        if !known.is_empty() {
            return known;
        }
        let each = self.instances.iter();
        each.flat_map(|one| (1..=one.frames).map(move |number| (one, numbered(one, number)))).collect()
    }

    /// The frame of reference and the position of every frame in it; `None` if any frame lacks one, or if the frames do
    /// not share a frame of reference and an orientation.
    pub(super) fn places(&self) -> Option<(String, Vec<Place>)> {
        let reference = self.first().text(tags::FRAME_OF_REFERENCE_UID).filter(|uid| uid::is_valid(uid))?;
        let places = self
            .each_frame()
            .into_iter()
            .map(|(instance, number)| {
                let same = instance.text(tags::FRAME_OF_REFERENCE_UID).as_ref() == Some(&reference);
                instance.place(number).filter(|_| same)
            })
            .collect::<Option<Vec<Place>>>()?;
        let one_orientation = places.iter().all(|place| place.orientation == places[0].orientation);
        one_orientation.then_some((reference, places))
    }
}

impl Instance {
    fn open(path: &Path) -> Result<Instance, OutputError> {
        let wrong = |problem| OutputError::Source { path: path.to_owned(), problem };
        let object = dicom_elements(path).map_err(|problem| wrong(SourceError::Unreadable(problem)))?;
        let identifier = |tag, name| {
            let value = text(&object, tag).filter(|value| uid::is_valid(value));
            value.ok_or_else(|| wrong(SourceError::Identifier(name)))
        };
        let class = identifier(tags::SOP_CLASS_UID, "SOP Class UID")?;
        let uid = identifier(tags::SOP_INSTANCE_UID, "SOP Instance UID")?;
        let series = identifier(tags::SERIES_INSTANCE_UID, "Series Instance UID")?;
        let study = identifier(tags::STUDY_INSTANCE_UID, "Study Instance UID")?;
        let mut instance = Instance { path: path.to_owned(), object, class, uid, series, study, frames: 1 };
        instance.frames = instance.count(tags::NUMBER_OF_FRAMES)?.unwrap_or(1);
        Ok(instance)
    }

    /// An attribute's text without padding; `None` if it is absent or empty.
    pub fn text(&self, tag: Tag) -> Option<String> {
        text(&self.object, tag)
    }

    /// A count of at least 1; `None` if it is absent or empty.
    fn count(&self, tag: Tag) -> Result<Option<usize>, OutputError> {
        let Some(text) = self.text(tag) else { return Ok(None) };
        match text.parse() {
            Ok(count @ 1..) => Ok(Some(count)),
            _ => Err(self.wrong(SourceError::Count { tag: tag.to_string(), text })),
        }
    }

    /// Position of a frame; `number` starts at 1 and is `None` in a single-frame file.
    fn place(&self, number: Option<usize>) -> Option<Place> {
        let groups = |tag, index| item(&self.object, tag, index);
        // A single-frame image may have a per-frame group too.
        let of_frame = groups(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, number.map_or(0, |n| n - 1));
        let shared = groups(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, 0);
        // Enhanced multi-frame images keep these attributes in functional groups, other images in the data set itself.
        let find = |group, tag| {
            let grouped =
                [of_frame, shared].into_iter().flatten().find_map(|i| text(item(i, group, 0)?, tag));
            grouped.or_else(|| self.text(tag))
        };
        Some(Place {
            position: find(tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT)?,
            orientation: find(tags::PLANE_ORIENTATION_SEQUENCE, tags::IMAGE_ORIENTATION_PATIENT)?,
            spacing: find(tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING)?,
            thickness: find(tags::PIXEL_MEASURES_SEQUENCE, tags::SLICE_THICKNESS),
        })
        .filter(|place| place.numbers().is_some())
    }

    fn wrong(&self, problem: SourceError) -> OutputError {
        OutputError::Source { path: self.path.clone(), problem }
    }
}

impl Place {
    /// Position [3], orientation [6] and spacing [2] as numbers; `None` if any is malformed.
    fn numbers(&self) -> Option<([f64; 3], [f64; 6], [f64; 2])> {
        Some((numbers(&self.position)?, numbers(&self.orientation)?, numbers(&self.spacing)?))
    }

    /// Position of the frame along the normal of its plane, in mm.
    fn along_normal(&self) -> Option<f64> {
        let (at, [a, b, c, d, e, f], _) = self.numbers()?;
        let normal = [b * f - c * e, c * d - a * f, a * e - b * d];
        Some(normal.iter().zip(at).map(|(n, p)| n * p).sum())
    }
}

/// Distance between consecutive frames in mm; `None` if any gap differs from the mean by more than 1%.
pub(super) fn spacing_between(places: &[Place]) -> Option<f64> {
    let along: Vec<f64> = places.iter().map(Place::along_normal).collect::<Option<_>>()?;
    let gaps: Vec<f64> = along.windows(2).map(|w| (w[1] - w[0]).abs()).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    gaps.iter().all(|gap| (gap - mean).abs() <= 0.01 * mean).then_some(mean).filter(|mean| *mean > 0.0)
}

fn numbers<const N: usize>(text: &str) -> Option<[f64; N]> {
    let values: Vec<f64> = text.split('\\').map(|v| v.trim().parse().ok()).collect::<Option<_>>()?;
    values.try_into().ok().filter(|values: &[f64; N]| values.iter().all(|v| v.is_finite()))
}

fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let value = object.get(tag)?.to_str().ok()?;
    let value = value.trim_matches(['\0', ' ']);
    (!value.is_empty()).then(|| value.to_owned())
}

fn item(object: &InMemDicomObject, sequence: Tag, index: usize) -> Option<&InMemDicomObject> {
    object.get(sequence)?.items()?.get(index)
}
