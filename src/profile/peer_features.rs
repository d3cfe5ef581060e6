//! Features of labelled images, computed by a peer.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::accuracy::Examination;
use super::peer::{Peer, PeerSpec};
use super::{PeerError, ProfileError};
use crate::features::{Geometry, ScanFeatures};
use crate::heads::Recipe;
use crate::input::{ScanKind, Source};
use crate::vit::Size;

/// Computes one row of features per image. Images in memory are written to `folder` for the peer to read.
///
/// # Errors
/// [`ProfileError::Peer`] if the peer fails or its rows differ in length.
pub(super) fn gather(
    spec: &PeerSpec,
    size: Size,
    examination: &Examination<'_>,
    folder: &Path,
    tick: &dyn Fn(),
) -> Result<Vec<ScanFeatures>, ProfileError> {
    let Examination { data, options, used, .. } = examination;
    let mut peer = Peer::start(spec, size, options.accuracy_threads.threads(), Path::new(""))?;
    let mut found: Vec<ScanFeatures> = Vec::new();
    for &index in used {
        let path = path_of(&data.set.samples[index].source, folder, index)?;
        let mut row = peer.ask(&path)?.features;
        // k-NN uses the first half of a row, which holds the CLS token in our features.
        if let Recipe::Knn { .. } = options.recipe {
            row.extend(row.clone());
        }
        let expected = found.first().map_or(row.len(), |f| f.rows.ncols());
        if row.len() != expected {
            let reason = PeerError::Length { found: row.len(), image: path, expected };
            return Err(ProfileError::Peer { name: spec.name.clone(), reason });
        }
        let rows = Array2::from_shape_vec((1, row.len()), row).expect("one row");
        let geometry = Geometry { kind: ScanKind::Image, size: (0, 0), crop: None, spacing: None };
        found.push(ScanFeatures { rows, tokens: None, geometry });
        tick();
    }
    Ok(found)
}

fn path_of(source: &Source, folder: &Path, index: usize) -> Result<PathBuf, ProfileError> {
    match source {
        Source::File(path) => Ok(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
        Source::Memory(image) => {
            let path = folder.join(format!("{index}.png"));
            if !path.exists() {
                image.pixels().save(&path).map_err(ProfileError::picture)?;
            }
            Ok(path)
        }
    }
}
