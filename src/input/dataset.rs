//! Labelled images: a CSV file, or a folder with one subfolder per class.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, Trim};
use sha2::{Digest, Sha256};

use super::{Dicom, InputError, Sample, Source, Split, copies, files};
use crate::names::one_line;

/// Separates the classes in a label cell.
const SEPARATOR: char = '|';

/// Labelled images.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Names of the classes, sorted.
    pub classes: Vec<String>,
    /// The images, in the order of the CSV file, or sorted by class and name.
    pub samples: Vec<Sample>,
    /// Whether the images include DICOM, as far as reading their folders showed.
    pub(crate) dicom: Dicom,
}

impl Dataset {
    /// A data set of `samples`, whose labels are indices into `classes`.
    ///
    /// # Errors
    /// [`InputError`] if a label is none of the classes, or two classes have one name.
    pub fn new(classes: Vec<String>, samples: Vec<Sample>) -> Result<Dataset, InputError> {
        let problem = |problem: String| Err(InputError::Dataset { path: "the data set".into(), problem });
        let names: std::collections::BTreeSet<&String> = classes.iter().collect();
        if names.len() < classes.len() {
            return problem("two classes have the same name".to_owned());
        }
        for Sample { name, labels, .. } in &samples {
            if let Some(label) = labels.iter().find(|&&label| label >= classes.len()) {
                return problem(format!("{name} has the label {label} of {} classes", classes.len()));
            }
        }
        Ok(Dataset { classes, samples, dicom: Dicom::Unknown })
    }

    /// Reads a folder with [`Dataset::from_dir`], anything else with [`Dataset::from_csv`].
    ///
    /// # Errors
    /// Those of the two functions.
    pub fn open(path: impl AsRef<Path>) -> Result<Dataset, InputError> {
        let path = path.as_ref();
        if path.is_dir() { Dataset::from_dir(path) } else { Dataset::from_csv(path) }
    }

    /// Reads a CSV file with the columns `image` and `label` or `mask` or both, and optionally `split` (`train`, `val`,
    /// `test`). Header names are case-insensitive, other columns are ignored, and paths are relative to the CSV file.
    /// An image may be a folder: the slices of a volume, or the frames of a clip. A label cell may name several
    /// classes, as in `mass|calcification`; an empty cell then means no class.
    ///
    /// # Errors
    /// [`InputError`] names the file and the line: a missing column, an empty table, a missing image file (the first
    /// one, and the number of all), an empty or repeated label, an unknown split, or an image named twice.
    pub fn from_csv(path: impl AsRef<Path>) -> Result<Dataset, InputError> {
        let path = path.as_ref();
        let rows = read_rows(path)?;
        // If there are only masks, an empty label is not an omission.
        let several = rows.iter().any(|row| row.label.contains(SEPARATOR))
            || rows.iter().all(|row| row.label.is_empty() && row.mask.is_some());
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut seen = BTreeMap::new();
        let mut missing = Vec::new();
        let mut labels = Vec::with_capacity(rows.len());
        for row in &rows {
            labels.push(split_label(path, row, several)?);
            // `components` drops ".", so that a.png and ./a.png are the same file.
            let file: PathBuf = folder.join(&row.image).components().collect();
            let mask = row.mask.as_ref().map(|mask| folder.join(mask));
            for file in [Some(&file), mask.as_ref()].into_iter().flatten().filter(|file| !file.exists()) {
                missing.push((row.line, file.clone()));
            }
            // The same file may also be reached by another path or a link.
            let file = file.canonicalize().unwrap_or(file);
            if let Some(first) = seen.insert(file, row.line) {
                let problem =
                    format!("{} is named in line {first} already: keep one of the lines", row.image);
                return Err(InputError::Row { path: path.into(), line: row.line, problem });
            }
        }
        if let Some((line, first)) = missing.first() {
            let (path, first, count) = (path.into(), first.clone(), missing.len());
            return Err(InputError::MissingImages { path, line: *line, first, count });
        }
        let classes: Vec<String> =
            labels.iter().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let sample = |(row, labels): (Row, Vec<String>)| Sample {
            source: Source::File(folder.join(&row.image)),
            labels: labels.iter().filter_map(|name| classes.binary_search(name).ok()).collect(),
            mask: row.mask.map(|mask| folder.join(mask)),
            split: row.split,
            name: row.image,
        };
        let samples: Vec<Sample> = rows.into_iter().zip(labels).map(sample).collect();
        copies::say(&samples, path);
        Ok(Dataset { classes, samples, dicom: Dicom::Unknown })
    }

    /// Reads a folder with one subfolder per class, each with its images. If all subfolders are called `train`, `val`
    /// or `test`, the classes are one level below. A class folder without images may instead have subfolders, each a
    /// clip or a volume. Hidden files and files that are not images are skipped.
    ///
    /// # Errors
    /// [`InputError`] names the folder: unreadable, without subfolders, or a class without images.
    pub fn from_dir(path: impl AsRef<Path>) -> Result<Dataset, InputError> {
        let root = path.as_ref();
        let folders = files::folders(root)?;
        let splits: Vec<Split> = folders.iter().filter_map(|f| file_name(f).parse().ok()).collect();
        let classes = if !folders.is_empty() && splits.len() == folders.len() {
            let mut classes = Vec::new();
            for (folder, split) in folders.iter().zip(splits) {
                classes.extend(files::folders(folder)?.into_iter().map(|class| (class, Some(split))));
            }
            classes
        } else {
            check_splits(root, &folders)?;
            folders.into_iter().map(|class| (class, None)).collect()
        };
        files::say_beside_folders(root)?;
        if classes.is_empty() {
            let problem = "holds no subfolders: give one subfolder a class, with its images".into();
            return Err(InputError::Dataset { path: root.into(), problem });
        }
        let names: BTreeSet<String> = classes.iter().map(|(folder, _)| file_name(folder)).collect();
        let names: Vec<String> = names.into_iter().collect();
        let (mut samples, mut dicom) = (Vec::new(), Dicom::Absent);
        for (folder, split) in classes {
            let label = names.binary_search(&file_name(&folder)).unwrap_or_default();
            let images = files::examples(&folder)?;
            dicom = dicom.and(images.dicom);
            for image in images.paths {
                let name = crate::names::shown(image.strip_prefix(root).unwrap_or(&image));
                let (labels, source) = (vec![label], Source::File(image));
                samples.push(Sample { name, source, labels, mask: None, split });
            }
        }
        copies::say(&samples, root);
        Ok(Dataset { classes: names, samples, dicom })
    }

    /// Whether one of the images is DICOM, for a data set read from files; looks into the files if this is not yet
    /// known.
    pub fn holds_dicom(&self) -> bool {
        self.dicom.known_or_in(self.samples.iter().filter_map(|sample| sample.source.file()))
    }

    /// The samples at `indices`, in that order, with the same classes.
    pub fn subset(&self, indices: &[usize]) -> Dataset {
        let samples = indices.iter().map(|&i| self.samples[i].clone()).collect();
        Dataset { classes: self.classes.clone(), samples, dicom: self.dicom }
    }

    /// Whether any image has several labels or none.
    pub fn is_multi_label(&self) -> bool {
        self.samples.iter().any(|sample| sample.labels.len() != 1)
    }

    /// The same images with two classes: `rest` (0) and `name` (1).
    ///
    /// # Errors
    /// [`InputError::UnknownClass`] lists the existing classes.
    pub fn target(&self, name: &str) -> Result<Dataset, InputError> {
        let Some(class) = self.classes.iter().position(|c| c == name) else {
            return Err(InputError::UnknownClass { name: name.into(), classes: self.classes.clone() });
        };
        let relabel = |sample: &Sample| Sample {
            labels: vec![usize::from(sample.labels.contains(&class))],
            ..sample.clone()
        };
        Ok(Dataset {
            classes: vec!["rest".into(), name.into()],
            samples: self.samples.iter().map(relabel).collect(),
            dicom: self.dicom,
        })
    }

    /// Digest of the images' names and labels (not of their pixels): SHA-256 in lower-case hex. It does not depend on
    /// the data set's location.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for sample in &self.samples {
            let classes: Vec<&str> = sample.labels.iter().map(|&l| self.classes[l].as_str()).collect();
            hash.update(format!("{:?}\n", (&sample.name, classes)));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The same images with labels that index `classes`, which may include classes that the data lack.
    ///
    /// # Errors
    /// [`InputError::UnknownClass`] names a class of the data that is not in `classes`.
    pub fn with_classes(&self, classes: &[String]) -> Result<Dataset, InputError> {
        let number = |class: &String| {
            let found = classes.iter().position(|c| c == class);
            found.ok_or_else(|| InputError::UnknownClass { name: class.clone(), classes: classes.to_vec() })
        };
        let numbers = self.classes.iter().map(number).collect::<Result<Vec<usize>, _>>()?;
        let relabel = |sample: &Sample| {
            let mut labels: Vec<usize> = sample.labels.iter().map(|&l| numbers[l]).collect();
            labels.sort_unstable();
            Sample { labels, ..sample.clone() }
        };
        let samples = self.samples.iter().map(relabel).collect();
        Ok(Dataset { classes: classes.to_vec(), samples, dicom: self.dicom })
    }
}

/// Maximum size of a cell, in bytes: the longest path that Linux accepts.
const MAX_CELL: usize = 4096;

/// Refuses a mixture of folders named like splits and folders named like classes: a folder `test` would be learned as a
/// class.
fn check_splits(root: &Path, folders: &[PathBuf]) -> Result<(), InputError> {
    let (splits, others): (Vec<String>, Vec<String>) =
        folders.iter().map(|folder| file_name(folder)).partition(|name| name.parse::<Split>().is_ok());
    match (splits.as_slice(), others.first()) {
        ([first, second, ..], Some(other)) => {
            let problem = format!(
                "has the folders '{first}' and '{second}' beside '{other}': name all of them train, val or test, or none"
            );
            Err(InputError::Dataset { path: root.into(), problem: one_line(&problem) })
        }
        _ => Ok(()),
    }
}

/// One line of the CSV file.
struct Row {
    line: u64,
    image: String,
    label: String,
    mask: Option<String>,
    split: Option<Split>,
}

fn read_rows(path: &Path) -> Result<Vec<Row>, InputError> {
    let bytes = crate::files::read(path, crate::files::MAX_TABLE).map_err(|e| InputError::read(path, &e))?;
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(bytes.as_slice());
    let whole = |problem: String| InputError::Dataset { path: path.into(), problem };
    let headers = reader.headers().map_err(|e| csv_error(path, &e))?.clone();
    let column = |name: &str| headers.iter().position(|h| h.eq_ignore_ascii_case(name));
    let need = |name: &str| {
        column(name).ok_or_else(|| {
            let found = headers.iter().collect::<Vec<_>>().join(", ");
            whole(format!(
                "has no column '{name}' (found: {}): name it in the first line",
                excerpt(&one_line(&found)).escape_debug()
            ))
        })
    };
    for name in ["image", "label", "mask", "split"] {
        if headers.iter().filter(|h| h.eq_ignore_ascii_case(name)).count() > 1 {
            return Err(whole(format!("has the column '{name}' twice: keep one")));
        }
    }
    let (image, mask, split) = (need("image")?, column("mask"), column("split"));
    let label = if mask.is_some() { column("label") } else { Some(need("label")?) };
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| csv_error(path, &e))?;
        let line = record.position().map_or(0, csv::Position::line);
        let wrong = |problem: String| InputError::Row { path: path.into(), line, problem };
        // A quoted cell may hold a line break, but names go into messages and tables of one line each.
        let cell = |column: usize| match &record[column] {
            text if text.len() > MAX_CELL => Err(wrong(format!(
                "has a cell of {} bytes, of at most {MAX_CELL}: is it a CSV file?",
                text.len()
            ))),
            text if text.chars().any(char::is_control) => Err(wrong(format!(
                "'{}' has a line break or control character: take it out",
                text.escape_debug()
            ))),
            text => Ok(text.to_owned()),
        };
        let split = match split.map(cell).transpose()? {
            Some(text) => Some(text.parse().map_err(|()| {
                wrong(format!("the split is '{text}': write train, val or test, or drop the column"))
            })?),
            None => None,
        };
        let image = cell(image)?;
        let label = label.map(cell).transpose()?.unwrap_or_default();
        let mask = mask.map(cell).transpose()?.filter(|mask| !mask.is_empty());
        if image.is_empty() {
            return Err(wrong("names no image: fill the cell or remove the line".into()));
        }
        rows.push(Row { line, image, label, mask, split });
    }
    if rows.is_empty() {
        return Err(whole("has no rows: add one line an image".into()));
    }
    Ok(rows)
}

/// The classes that a label cell names, sorted.
fn split_label(path: &Path, row: &Row, several: bool) -> Result<Vec<String>, InputError> {
    let wrong = |problem: String| InputError::Row { path: path.into(), line: row.line, problem };
    if row.label.is_empty() {
        let problem = "has no label: fill the cell or remove the line".into();
        return if several { Ok(Vec::new()) } else { Err(wrong(problem)) };
    }
    let mut names: Vec<String> = row.label.split(SEPARATOR).map(|name| name.trim().to_owned()).collect();
    names.sort();
    if names[0].is_empty() {
        return Err(wrong(format!("the label '{}' has an empty part: remove a '{SEPARATOR}'", row.label)));
    }
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(wrong(format!("the label '{}' names a class twice: keep one", row.label)));
    }
    Ok(names)
}

fn csv_error(path: &Path, error: &csv::Error) -> InputError {
    let line = error.position().map_or(1, csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} cells where the header has {expected_len}: correct the line")
        }
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8 text: save the file as UTF-8".into(),
        _ => format!("cannot be read ({error}): is it a CSV file?"),
    };
    InputError::Row { path: path.into(), line, problem }
}

/// The beginning of a quoted text, for messages: a cell may be as long as the file.
fn excerpt(text: &str) -> &str {
    text.char_indices().nth(200).map_or(text, |(end, _)| &text[..end])
}

fn file_name(path: &Path) -> String {
    crate::names::shown(path.file_name().unwrap_or_default())
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
