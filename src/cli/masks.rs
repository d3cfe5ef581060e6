//! Masks of labelled images, and their class names.

use std::path::Path;

use anyhow::bail;
use microraptor::input::{Dataset, InputError, LabelMap, ReadOptions, Sample, Source};

/// The masks of all images of `data`, which was read from `path`, and their class names: `names`, or default names if
/// `names` is empty.
pub fn read(
    data: &Dataset,
    path: &Path,
    read: &ReadOptions,
    names: &[String],
) -> anyhow::Result<(Vec<LabelMap>, Vec<String>)> {
    let mut masks = Vec::with_capacity(data.samples.len());
    for sample in &data.samples {
        let Some(mask) = &sample.mask else {
            bail!(
                "{}: {} has no mask: a CSV with a column 'mask' is needed for this head",
                path.display(),
                sample.name
            );
        };
        masks.push(open(sample, mask, read)?);
    }
    let largest = masks.iter().flat_map(|mask| mask.labels.iter()).copied().max().unwrap_or(0);
    let mut names = names.to_vec();
    if names.is_empty() {
        names = match largest {
            0 => bail!("{}: every mask is empty, there is nothing to learn", path.display()),
            1 => vec!["background".into(), "foreground".into()],
            n => (0..=n).map(|i| if i == 0 { "background".into() } else { format!("class {i}") }).collect(),
        };
    }
    if names.len() <= usize::from(largest) {
        bail!(
            "--classes {}: names {} classes, and the masks hold class number {largest}: give {} names, the background \
             first (a mask of 0 and 255 alone has the classes 0 and 1)",
            names.join(","),
            names.len(),
            usize::from(largest) + 1
        );
    }
    Ok((masks, names))
}

/// Reads the mask of `sample`, which must have the position of its image.
pub fn open(sample: &Sample, mask: &Path, read: &ReadOptions) -> Result<LabelMap, InputError> {
    match &sample.source {
        Source::File(image) => LabelMap::open_for(mask, image, read),
        Source::Memory(_) => LabelMap::open(mask, read.axis),
    }
}
