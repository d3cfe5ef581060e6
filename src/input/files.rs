//! Finds the images of a folder and decides what they form together.

use std::cmp::Ordering;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::content::Content;
use super::extensions::is_image_name;
use super::{InputError, nifti, say};

/// The element MediaStorageSOPClassUID (0002,0002) of a DICOMDIR (PS3.10, 8.6), as in the file meta information.
const DICOMDIR: &[u8] = b"\x02\x00\x02\x00UI\x14\x001.2.840.10008.1.3.10";

/// Number of bytes at the start of a file that are searched for that element.
const META_BYTES: u64 = 512;

/// Files and folders with images, and what finding them showed about their content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// Their paths.
    pub paths: Vec<PathBuf>,
    /// Whether one of them is DICOM.
    pub(super) dicom: Dicom,
}

impl Images {
    /// Images at `paths`, which have not been opened yet.
    pub fn at(paths: Vec<PathBuf>) -> Images {
        let dicom = if paths.is_empty() { Dicom::Absent } else { Dicom::Unknown };
        Images { paths, dicom }
    }

    /// Whether one of them is DICOM; looks into the files if this is not yet known.
    pub fn hold_dicom(&self) -> bool {
        self.dicom.known_or_in(self.paths.iter().map(PathBuf::as_path))
    }

    fn extend(&mut self, more: Images) {
        self.paths.extend(more.paths);
        self.dicom = self.dicom.and(more.dicom);
    }
}

/// What is known about whether a set of images includes DICOM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dicom {
    /// At least one is DICOM.
    Present,
    /// None is DICOM.
    #[default]
    Absent,
    /// Not all of them have been opened.
    Unknown,
}

impl Dicom {
    /// The combined state of these images and `others`.
    pub(super) fn and(self, others: Dicom) -> Dicom {
        match (self, others) {
            (Dicom::Present, _) | (_, Dicom::Present) => Dicom::Present,
            (Dicom::Absent, Dicom::Absent) => Dicom::Absent,
            _ => Dicom::Unknown,
        }
    }

    /// Whether DICOM is present; looks into `paths` if this is not known.
    pub(super) fn known_or_in<'a>(self, mut paths: impl Iterator<Item = &'a Path>) -> bool {
        match self {
            Dicom::Present => true,
            Dicom::Absent => false,
            Dicom::Unknown => paths.any(is_dicom),
        }
    }
}

/// The images that command-line arguments mean: a file stays, a folder is replaced by its images, sorted by name. A
/// file counts as an image if its first bytes identify a known format, or else by its extension. Hidden files and
/// DICOMDIR are skipped; other skipped files are counted on standard error.
///
/// # Errors
/// [`InputError`] names a path that does not exist, or a folder that holds no image.
pub fn expand(paths: &[PathBuf]) -> Result<Images, InputError> {
    let mut all = Images::default();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|e| InputError::read(path, &e))?;
        all.extend(if metadata.is_dir() { images(path)? } else { Images::at(vec![path.clone()]) });
    }
    Ok(all)
}

/// The entries of a folder that are not images.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    files: usize,
    folders: usize,
    first: Option<String>,
}

impl Passed {
    fn add(&mut self, path: &Path) {
        if path.is_dir() {
            self.folders += 1
        } else {
            self.files += 1
        }
        self.first.get_or_insert_with(|| {
            path.file_name().unwrap_or_default().to_string_lossy().escape_debug().to_string()
        });
    }

    /// Warns of their number in one line on standard error; prints nothing if there are none.
    pub(super) fn say(&self, folder: &Path) {
        if let Some(text) = self.text() {
            say::once(format!("{}: {text}", folder.display()));
        }
    }

    fn text(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        let many = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 {what}")),
            n => Some(format!("{n} {what}s")),
        };
        let parts: Vec<String> =
            [many(self.files, "file"), many(self.folders, "folder")].into_iter().flatten().collect();
        Some(format!("{} passed over (first: {first})", parts.join(" and ")))
    }
}

/// The images directly in a folder, sorted by name, and the other entries.
pub(super) fn sorted_out(folder: &Path) -> Result<(Images, Passed), InputError> {
    let mut images = Images::default();
    let mut passed = Passed::default();
    for path in entries(folder)? {
        if !path.is_file() {
            passed.add(&path);
            continue;
        }
        if is_index(&path)? {
            continue;
        }
        let content = Content::by_bytes(&path)?;
        // The voxel file of a pair is read with its header.
        if content.is_none() && nifti::is_voxels_name(&path) && nifti::partner(&path).is_some() {
            continue;
        }
        if content.is_none() && !is_image_name(&path) {
            passed.add(&path);
            continue;
        }
        if content.unwrap_or_else(|| Content::by_name(&path)) == Content::Dicom {
            images.dicom = Dicom::Present;
        }
        images.paths.push(path);
    }
    Ok((images, passed))
}

/// Whether a file is the index of a DICOM medium (itself DICOM but not an image), by its name or its SOP class.
fn is_index(path: &Path) -> Result<bool, InputError> {
    if path.file_name().is_some_and(|name| name.eq_ignore_ascii_case("DICOMDIR")) {
        return Ok(true);
    }
    let failed = |e: std::io::Error| InputError::read(path, &e);
    let mut start = Vec::new();
    crate::files::open(path).map_err(failed)?.take(META_BYTES).read_to_end(&mut start).map_err(failed)?;
    Ok(start.get(128..132) == Some(b"DICM") && start.windows(DICOMDIR.len()).any(|w| w == DICOMDIR))
}

impl Content {
    /// The content of `path`. With `say`, the skipped entries of a folder are counted on standard error.
    pub(super) fn of(path: &Path, say: bool) -> Result<Content, InputError> {
        let metadata = fs::metadata(path).map_err(|e| InputError::read(path, &e))?;
        if metadata.is_dir() { Content::of_folder(path, say) } else { Content::of_file(path) }
    }

    fn of_folder(path: &Path, say: bool) -> Result<Content, InputError> {
        let mut dicom = Vec::new();
        let mut pictures = Vec::new();
        let (found, passed) = sorted_out(path)?;
        for file in found.paths {
            match Content::of_file(&file)? {
                Content::Dicom => dicom.push(file),
                Content::Picture => pictures.push(file),
                _ => {
                    let problem = format!("is a folder with {}: give that file itself", file.display());
                    return Err(InputError::Unreadable { path: path.into(), problem });
                }
            }
        }
        if say {
            passed.say(path);
        }
        match (dicom.is_empty(), pictures.is_empty()) {
            (true, true) => Err(InputError::NoImages { path: path.into() }),
            (false, false) => {
                let problem =
                    "holds both DICOM files and pictures: keep one kind, or give the files one by one".into();
                Err(InputError::Unreadable { path: path.into(), problem })
            }
            (false, true) => Ok(Content::Series(dicom)),
            (true, false) => {
                pictures.sort_by(|a, b| natural(a, b));
                Ok(Content::Clip(pictures))
            }
        }
    }
}

/// Whether `path` is a DICOM file, or a folder with one. False if it cannot be read.
pub(super) fn is_dicom(path: &Path) -> bool {
    matches!(Content::of(path, false), Ok(Content::Dicom | Content::Series(_)))
}

/// The images directly in a folder, sorted by name; at least one.
pub(super) fn images(folder: &Path) -> Result<Images, InputError> {
    let (images, passed) = sorted_out(folder)?;
    if images.paths.is_empty() {
        return Err(InputError::NoImages { path: folder.into() });
    }
    passed.say(folder);
    Ok(images)
}

/// The images directly in a folder, or, if there are none, its subfolders, each a bag of images.
pub(super) fn examples(folder: &Path) -> Result<Images, InputError> {
    match images(folder) {
        Err(InputError::NoImages { path }) => {
            let bags = folders(folder)?;
            if bags.is_empty() { Err(InputError::NoImages { path }) } else { Ok(Images::at(bags)) }
        }
        images => images,
    }
}

/// The folders directly in a folder, sorted by name.
pub(super) fn folders(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    Ok(entries(folder)?.into_iter().filter(|p| p.is_dir()).collect())
}

/// Counts on standard error the files beside the folders of `root`, where only folders are expected.
pub(super) fn say_beside_folders(root: &Path) -> Result<(), InputError> {
    let mut passed = Passed::default();
    entries(root)?.iter().filter(|path| !path.is_dir()).for_each(|path| passed.add(path));
    passed.say(root);
    Ok(())
}

/// The entries of a folder, sorted by name, without hidden ones.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, InputError> {
    let error = |e: std::io::Error| InputError::read(folder, &e);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Natural order of names: runs of digits compare by value, so that `frame2` comes before `frame10`; ties are broken
/// byte by byte.
pub(super) fn natural(a: &Path, b: &Path) -> Ordering {
    let [a, b] = [a, b].map(|path| path.file_name().unwrap_or_default().as_encoded_bytes());
    let (mut left, mut right) = (a, b);
    while let (Some(l), Some(r)) = (left.first(), right.first()) {
        let order = if l.is_ascii_digit() && r.is_ascii_digit() {
            let [l, r] = [&mut left, &mut right].map(|text| {
                let digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
                let (number, rest) = text.split_at(digits);
                *text = rest;
                let zeros = number.iter().take_while(|c| **c == b'0').count();
                &number[zeros..]
            });
            l.len().cmp(&r.len()).then(l.cmp(r))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            l.cmp(r)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len()).then(a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_and_folders_become_their_images() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["b.PNG", "a.jpg", ".hidden.png", "notes.txt", "c.nii.gz", "png", "d.gz", "DICOMDIR"] {
            fs::write(at(name), "").unwrap();
        }
        fs::create_dir(at("sub.png")).unwrap();
        let given = [at("notes.txt"), folder.path().to_path_buf()];
        let images = expand(&given).unwrap();
        assert_eq!(images.paths, [at("notes.txt"), at("a.jpg"), at("b.PNG"), at("c.nii.gz")]);
        assert!(!images.hold_dicom());

        let missing = expand(&[at("absent.png")]).unwrap_err().to_string();
        assert!(missing.contains("absent.png: cannot be read"), "{missing}");
        assert_eq!(expand(&[at("sub.png")]), Err(InputError::NoImages { path: at("sub.png") }));
    }

    #[test]
    fn the_content_makes_an_image_whatever_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let dicom = |class: &[u8]| [&[0; 128], b"DICM".as_slice(), b"\x02\x00\x02\x00UI", class].concat();
        let volume = [&348i32.to_le_bytes()[..], &[0; 340], b"n+1\0", &[0; 4]].concat();
        let bitmap = [&b"BM"[..], &[0; 12], &40u32.to_le_bytes()].concat();
        let files: [(&str, &[u8]); 12] = [
            ("IM0001", &dicom(b"\x1a\x001.2.840.10008.5.1.4.1.1.2\0")),
            ("IM0002.IMA", &dicom(b"\x1a\x001.2.840.10008.5.1.4.1.1.2\0")),
            // The index of a DICOM medium under another name.
            ("INDEX", &dicom(b"\x14\x001.2.840.10008.1.3.10")),
            ("volume", &volume),
            ("clip", b"YUV4MPEG2 W8 H8\n"),
            ("picture", b"\x89PNG\r\n\x1a\n"),
            ("photo.txt", b"\xFF\xD8\xFF\xE0"),
            ("bitmap", &bitmap),
            ("grey", b"P5\n# made by hand\n8 8\n255\n"),
            // Texts that begin with the magic letters of a picture format.
            ("minutes", b"BM: present"),
            ("plan", b"P5 is the plan"),
            ("empty", b""),
        ];
        for (name, bytes) in files {
            fs::write(at(name), bytes).unwrap();
        }
        fs::create_dir(at("sub")).unwrap();
        let (found, passed) = sorted_out(folder.path()).unwrap();
        let names: Vec<_> =
            found.paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(
            names,
            ["IM0001", "IM0002.IMA", "bitmap", "clip", "grey", "photo.txt", "picture", "volume"]
        );
        assert_eq!(passed.text().unwrap(), "3 files and 1 folder passed over (first: empty)");
        assert_eq!(Passed::default().text(), None);
    }

    #[test]
    fn what_is_seen_of_dicom_is_handed_on() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.png"), b"\x89PNG\r\n\x1a\n").unwrap();
        let expanded = |path: PathBuf| expand(&[path]).unwrap();
        assert_eq!(expanded(folder.path().into()).dicom, Dicom::Absent);
        fs::write(at("b.dcm"), "damaged").unwrap();
        assert_eq!(expanded(folder.path().into()).dicom, Dicom::Present);
        // A file given by name has not been opened.
        assert_eq!(expanded(at("b.dcm")).dicom, Dicom::Unknown);
        assert!(expanded(at("b.dcm")).hold_dicom() && !expanded(at("a.png")).hold_dicom());
        assert!(Images::at(vec![at("a.png"), at("b.dcm")]).hold_dicom());
        assert!(!Images::at(Vec::new()).hold_dicom());
    }

    #[test]
    fn numbers_in_names_count_by_their_value() {
        let mut names =
            ["frame10.png", "frame2.png", "frame02.png", "a.png", "frame1.png", "frame1b.png", "frame"];
        names.sort_by(|a, b| natural(Path::new(a), Path::new(b)));
        assert_eq!(
            names,
            ["a.png", "frame", "frame1.png", "frame1b.png", "frame02.png", "frame2.png", "frame10.png"]
        );
    }
}
