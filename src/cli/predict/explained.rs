//! `predict --explain`: heat maps, and the numbers of many frames in a file of their own.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use microraptor::features::Geometry;
use microraptor::files::{Access, Target, write_atomically};
use microraptor::heads::{Contributions, Explanation, Shown, explainable};
use microraptor::input::ScanInfo;
use microraptor::names::shown;
use microraptor::output::{PatchMap, write_heat_map};
use serde_json::{Value, json};

use super::files::{Answered, Files, with_ending};
use crate::cli::explained;
use crate::cli::head_line::HeadLine;
use crate::cli::loaded::Loaded;

/// Refuses `--explain` if nothing can be said of any of the heads.
pub fn check(heads: &[Loaded]) -> anyhow::Result<()> {
    let reasons: Vec<_> = heads.iter().map(|loaded| explainable(&loaded.head.model)).collect();
    if reasons.iter().all(Result::is_err)
        && let Some(Err(why)) = reasons.into_iter().next()
    {
        bail!("--explain: none of the heads can be explained exactly: {why}");
    }
    Ok(())
}

/// Writes what explains an answer, and records it in `line`.
pub fn write(
    files: &mut Files,
    answered: Answered,
    geometry: &Geometry,
    explanation: &Explanation,
    line: &mut HeadLine,
) -> anyhow::Result<()> {
    let Answered { path, info, loaded, outcome, .. } = answered;
    let Some(folder) = files.explains().map(Path::to_owned) else { return Ok(()) };
    let predicted = outcome.predicted();
    let frames = if let Explanation::Contributions(all) = explanation { all.frames } else { 1 };
    let order = info.source_order(frames);
    let model = &loaded.head.model;
    let mut record = explained::record(explanation, model, predicted, &order, false);
    if let Explanation::Contributions(all) = explanation {
        let stem = with_ending(&folder.join(files.stem(path, loaded)), ".explain");
        if frames > 1 {
            let to = with_ending(&stem, ".json");
            let whole = explained::record(explanation, model, predicted, &order, true);
            let access = access(info);
            files.put(&to, || {
                let target = Target { path: &to, access };
                Ok(write_atomically(target, |file| writeln!(file, "{whole}"))?)
            })?;
            record["values"] = json!(shown(&to));
        }
        let map = all.shown(predicted);
        match write_nifti(files, &stem, answered, geometry, all, &map)? {
            Some(name) => record["nifti"] = name,
            None => record["map"] = write_pictures(files, &stem, answered, geometry, all, &map)?,
        }
    }
    line.because(record);
    Ok(())
}

fn access(info: &ScanInfo) -> Access {
    if info.dicom.is_some() { Access::Owner } else { Access::Usual }
}

/// A picture for each frame; all have the same scale.
fn write_pictures(
    files: &mut Files,
    stem: &Path,
    answered: Answered,
    geometry: &Geometry,
    all: &Contributions,
    map: &Shown,
) -> anyhow::Result<Value> {
    let Answered { path, info, loaded, .. } = answered;
    let text = files.shown(path, info, "--explain")?;
    let mut scan = Files::again(answered, "--explain")?;
    let patches = patches(loaded, geometry, all);
    let positions = all.grid.0 * all.grid.1;
    files.each_frame(stem, info, all.frames, |path, z| {
        let frame = scan.next().context("the file changed while it was read")??;
        let frame = text.map_or(frame.clone(), |region| frame.only(region));
        let values = &map.patches[z * positions..(z + 1) * positions];
        let target = Target { path, access: access(info) };
        Ok(write_heat_map(target, &frame, &patches, values, map.scale())?)
    })
}

fn patches(loaded: &Loaded, geometry: &Geometry, all: &Contributions) -> PatchMap {
    PatchMap::new(all.grid, loaded.head.size, &loaded.head.preprocess, geometry.seen())
}

/// For a NIfTI input, a volume on its grid: each voxel has the value of the patch that covers it.
#[cfg(feature = "nifti")]
fn write_nifti(
    files: &mut Files,
    stem: &Path,
    answered: Answered,
    geometry: &Geometry,
    all: &Contributions,
    map: &Shown,
) -> anyhow::Result<Option<Value>> {
    use microraptor::output::write_nifti_values;
    let Some(nifti) = &answered.info.nifti else { return Ok(None) };
    let to = with_ending(stem, ".nii.gz");
    let patches = patches(answered.loaded, geometry, all);
    let positions = all.grid.0 * all.grid.1;
    let (top, left) = geometry.crop.map_or((0, 0), |region| (region.top, region.left));
    let (height, width) = patches.size();
    let values = nifti.placed(|[z, y, x]| {
        let (row, column) = (y.wrapping_sub(top), x.wrapping_sub(left));
        let patch = if row < height && column < width { patches.patch(row, column) } else { None };
        patch.map_or(0.0, |patch| map.patches[z * positions + patch] as f32)
    });
    files.put(&to, || Ok(write_nifti_values(&to, nifti.dims, &nifti.affine, &values)?))?;
    Ok(Some(json!(shown(&to))))
}

#[cfg(not(feature = "nifti"))]
fn write_nifti(
    _: &mut Files,
    _: &Path,
    _: Answered,
    _: &Geometry,
    _: &Contributions,
    _: &Shown,
) -> anyhow::Result<Option<Value>> {
    Ok(None)
}
