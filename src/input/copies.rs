//! Detects files of a data set that are copies of each other under different names.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Sample, Source, say};

/// Bytes compared first: files of equal length, as uncompressed ones often are, differ within these.
const START: u64 = 1 << 16;

/// Warns on standard error if files hold the same bytes. If the copies are on both sides of a split, results measured
/// on one are biased by training on the other; if their labels differ, one of them is wrong.
pub(super) fn say(samples: &[Sample], from: &Path) {
    let copies = pairs(samples);
    if let Some(&(first, second)) = copies.first() {
        say::once(format!(
            "{}: {} and {} hold the same bytes{}: a copy that is trained on makes what is measured on the other too good",
            from.display(),
            samples[first].name,
            samples[second].name,
            if copies.len() > 1 { format!(" (and {} more such)", copies.len() - 1) } else { String::new() }
        ));
    }
}

/// Each sample that is a copy of an earlier one, paired with that one. Unreadable files are skipped; their reader
/// reports them.
fn pairs(samples: &[Sample]) -> Vec<(usize, usize)> {
    let mut lengths: HashMap<u64, Vec<(usize, &Path)>> = HashMap::new();
    for (n, sample) in samples.iter().enumerate() {
        if let Source::File(path) = &sample.source
            && let Ok(metadata) = fs::metadata(path)
            && metadata.is_file()
        {
            lengths.entry(metadata.len()).or_default().push((n, path));
        }
    }
    let mut out = Vec::new();
    for alike in lengths.into_values().filter(|alike| alike.len() > 1) {
        for alike in parted(alike, |path| digest(path, START)) {
            for copies in parted(alike, |path| digest(path, u64::MAX)) {
                out.extend(copies[1..].iter().map(|&(n, _)| (copies[0].0, n)));
            }
        }
    }
    out.sort_unstable();
    out
}

/// Groups of two or more `files` with equal `key`.
fn parted(
    files: Vec<(usize, &Path)>,
    key: impl Fn(&Path) -> io::Result<[u8; 32]>,
) -> Vec<Vec<(usize, &Path)>> {
    let mut groups: HashMap<[u8; 32], Vec<(usize, &Path)>> = HashMap::new();
    for (n, path) in files {
        if let Ok(key) = key(path) {
            groups.entry(key).or_default().push((n, path));
        }
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

/// SHA-256 of at most the first `bytes` of a file.
fn digest(path: &Path, bytes: u64) -> io::Result<[u8; 32]> {
    let mut file = crate::files::open(path)?.take(bytes);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; START as usize];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_found_whatever_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let long = |last: u8| [vec![7; 100_000], vec![last]].concat();
        let files = [("a", long(1)), ("b", long(2)), ("c", long(1)), ("d", vec![1]), ("e", long(1))];
        let samples: Vec<Sample> = files
            .into_iter()
            .map(|(name, bytes)| {
                let path = folder.path().join(name);
                fs::write(&path, bytes).unwrap();
                Sample {
                    name: name.into(),
                    source: Source::File(path),
                    labels: vec![0],
                    mask: None,
                    split: None,
                }
            })
            .collect();
        assert_eq!(pairs(&samples), [(0, 2), (0, 4)]);
        assert_eq!(pairs(&samples[..2]), []);
    }
}
