use std::fs;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    /// A folder with empty files of these names (the tests do not read pixels).
    fn with(files: &[&str]) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        for file in files {
            fs::create_dir_all(folder.at(file).parent().unwrap()).unwrap();
            fs::write(folder.at(file), "").unwrap();
        }
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn csv(&self, text: impl AsRef<[u8]>) -> Result<Dataset, InputError> {
        fs::write(self.at("labels.csv"), text).unwrap();
        Dataset::open(self.at("labels.csv"))
    }

    /// The error message, without the folder's own path; one line.
    fn csv_error(&self, text: impl AsRef<[u8]>) -> String {
        let message = self.csv(text).unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
        message.replace(&format!("{}/", self.0.path().display()), "")
    }
}

#[test]
fn reads_a_csv_by_its_header() {
    let folder = Folder::with(&["i/a.png", "i/b.png", "c.png"]);
    let data = folder
        .csv("\u{feff}Label , extra, IMAGE,Split\nmalignant,1,i/a.png,train\nbenign,2, ./i/b.png,VAL\nbenign,,c.png,test\n")
        .unwrap();
    assert_eq!(data.classes, ["benign", "malignant"]);
    let row = |i: usize| (&data.samples[i].name[..], &data.samples[i].labels[..], data.samples[i].split);
    assert_eq!(row(0), ("i/a.png", &[1][..], Some(Split::Train)));
    assert_eq!(row(1), ("./i/b.png", &[0][..], Some(Split::Val)));
    assert_eq!(row(2), ("c.png", &[0][..], Some(Split::Test)));
    assert_eq!(data.samples[2].source, Source::File(folder.at("c.png")));
    assert!(!data.is_multi_label());

    let malignant = data.target("malignant").unwrap();
    assert_eq!(malignant.classes, ["rest", "malignant"]);
    assert_eq!(malignant.samples.iter().map(|s| s.labels[0]).collect::<Vec<_>>(), [1, 0, 0]);
    let error = data.target("normal").unwrap_err().to_string();
    assert_eq!(error, "no class 'normal': the classes are benign, malignant");
}

#[test]
fn reads_several_labels_a_cell() {
    let folder = Folder::with(&["a.png", "b.png", "c.png"]);
    let data = folder.csv("image,label\na.png,mass | cyst\nb.png,\nc.png,mass\n").unwrap();
    assert_eq!(data.classes, ["cyst", "mass"]);
    let labels: Vec<_> = data.samples.iter().map(|s| s.labels.clone()).collect();
    assert_eq!(labels, [vec![0, 1], vec![], vec![1]]);
    assert!(data.is_multi_label());
}

#[test]
fn names_file_and_line_of_what_is_wrong_in_a_csv() {
    let folder = Folder::with(&["a.png", "b.png"]);
    let error = |text: &str| folder.csv_error(text);
    assert_eq!(
        error("image;label\na.png;x\n"),
        "labels.csv: has no column 'image' (found: image;label): name it in the first line"
    );
    assert!(error("image,class\na.png,x\n").starts_with("labels.csv: has no column 'label'"));
    assert!(error("").starts_with("labels.csv: has no column 'image'"));
    assert_eq!(error("image,label\n"), "labels.csv: has no rows: add one line an image");
    assert!(error("image,label\na.png,x\nb.png,\n").starts_with("labels.csv line 3: has no label"));
    assert!(
        error("image,label\na.png,x\nb.png,x||y\n").starts_with("labels.csv line 3: the label 'x||y' has")
    );
    assert!(
        error("image,label\na.png,x|x\n").starts_with("labels.csv line 2: the label 'x|x' names a class")
    );
    assert!(error("image,label\n,x\n").starts_with("labels.csv line 2: names no image"));
    assert!(
        error("image,label,split\na.png,x,dev\n")
            .starts_with("labels.csv line 2: the split is 'dev': write train")
    );
    assert!(error("image,label,split\na.png,x,\n").starts_with("labels.csv line 2: the split is ''"));
    assert_eq!(
        error("image,label\na.png,x\n./a.png,x\n"),
        "labels.csv line 3: ./a.png is named in line 2 already: keep one of the lines"
    );
    assert_eq!(
        error("image,label\na.png,x\nno.png,x\nb.png,y\nneither.png,y\n"),
        "labels.csv line 3: no image file no.png (2 in all are missing): correct the path (it is relative to the CSV \
         file) or remove the line"
    );
    assert_eq!(
        error("image,label\na.png,x\nb.png,x,y\n"),
        "labels.csv line 3: 3 cells where the header has 2: correct the line"
    );
    assert_eq!(error("image,label,Label\na.png,x,y\n"), "labels.csv: has the column 'label' twice: keep one");
    // The same file by another path.
    fs::create_dir(folder.at("sub")).unwrap();
    assert_eq!(
        error("image,label\na.png,x\nsub/../a.png,y\n"),
        "labels.csv line 3: sub/../a.png is named in line 2 already: keep one of the lines"
    );
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.at("b.png"), folder.at("link.png")).unwrap();
        let message = error("image,label,split\nb.png,x,train\nlink.png,x,test\n");
        assert!(message.contains("link.png is named in line 2 already"), "{message}");
    }
    // Windows line ends and quoted cells are valid CSV (RFC 4180).
    assert_eq!(
        folder.csv("image,label\r\n\"a.png\",two words\r\nb.png,y\r\n").unwrap().classes,
        ["two words", "y"]
    );
    assert!(
        error("image,label\n\"a.png\",\"x\ny\"\n").contains("labels.csv line 2: 'x\\ny' has a line break")
    );
    let latin1 = folder.csv_error(b"image,label\na.png,x\nb.png,b\xf6se\n");
    assert_eq!(latin1, "labels.csv line 3: is not UTF-8 text: save the file as UTF-8");
    assert!(
        Dataset::open(folder.at("absent.csv"))
            .unwrap_err()
            .to_string()
            .contains("absent.csv: cannot be read")
    );
}

#[test]
fn reads_a_folder_with_one_subfolder_a_class() {
    let folder = Folder::with(&[
        "benign/2.png",
        "benign/10.JPG",
        "benign/.x.png",
        "benign/n.txt",
        "malignant/1.bmp",
        "x.png",
    ]);
    let data = Dataset::open(folder.at("")).unwrap();
    assert_eq!(data.classes, ["benign", "malignant"]);
    let names: Vec<_> = data.samples.iter().map(|s| (&s.name[..], s.labels[0], s.split)).collect();
    assert_eq!(names, [("benign/10.JPG", 0, None), ("benign/2.png", 0, None), ("malignant/1.bmp", 1, None)]);
    assert_eq!(data.samples[0].source, Source::File(folder.at("benign/10.JPG")));
}

#[test]
fn reads_a_folder_of_splits() {
    let folder = Folder::with(&["train/a/1.png", "train/b/1.png", "Val/b/2.png"]);
    let data = Dataset::open(folder.at("")).unwrap();
    assert_eq!(data.classes, ["a", "b"]);
    let found: Vec<_> = data.samples.iter().map(|s| (s.labels[0], s.split.unwrap())).collect();
    assert_eq!(found, [(1, Split::Val), (0, Split::Train), (1, Split::Train)]);
}

#[test]
fn refuses_folders_without_images() {
    let empty = Folder::with(&["image.png"]);
    assert!(Dataset::open(empty.at("")).unwrap_err().to_string().contains("holds no subfolders"));
    let hollow = Folder::with(&["a/1.png", "b/.hidden.png"]);
    assert_eq!(Dataset::open(hollow.at("")), Err(InputError::NoImages { path: hollow.at("b") }));
    let mixed = Folder::with(&["train/a/1.png", "test/a/2.png", "more/a/3.png"]);
    let message = Dataset::open(mixed.at("")).unwrap_err().to_string();
    assert!(message.contains("has the folders 'test' and 'train' beside 'more'"), "{message}");
}

#[test]
fn reads_busi() {
    let Some(table) = crate::support::shared("data/busi/labels.csv") else { return };
    let data = Dataset::open(&table).unwrap();
    assert_eq!(data.classes, ["benign", "malignant", "normal"]);
    assert_eq!(data.counts(), [345, 168, 111]);
    assert_eq!(data.target("malignant").unwrap().counts(), [456, 168]);
    let parts = data.split(0, 0.2).unwrap();
    assert!(parts.train.len() + parts.val.len() == 624 && parts.test.is_empty());
    for sample in data.samples.iter().step_by(100) {
        sample.source.open().unwrap();
    }
    // Its images as a folder of classes give the same data set, except for the order and the split.
    let folder = Dataset::open(table.with_file_name("images")).unwrap();
    assert_eq!((folder.classes.clone(), folder.counts()), (data.classes.clone(), data.counts()));
}
