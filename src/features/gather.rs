//! Features of labelled images, clips and volumes.

use super::{Collector, Extractor, FeatureCache, FeatureError, Geometry, Request, ScanFeatures};
use crate::engine::Session;
use crate::input::{Dataset, InputError, check_frames};
use crate::stamp::Stamp;
use crate::vit::Features;

/// Features of the examples `indices` of `data`, in that order; those found in `cache` are not recomputed. `tick` is
/// called after each example.
///
/// # Errors
/// [`FeatureError::Input`] when a file cannot be read, [`FeatureError::Engine`] when the backbone fails on it or lacks
/// a layer.
pub fn gather(
    session: &mut Session,
    data: &Dataset,
    indices: &[usize],
    request: &Request<'_>,
    cache: Option<&FeatureCache>,
    tick: &dyn Fn(),
) -> Result<Vec<ScanFeatures>, FeatureError> {
    let name = session.engine().about().name.clone();
    if request.tokens.is_some() && request.preprocess.crop.is_some() {
        return Err(FeatureError::Cropped(name));
    }
    let layers = request.tokens.unwrap_or_default();
    let lacking = |source| FeatureError::Engine { image: name, source: Box::new(source) };
    session.keep_layers(layers).map_err(lacking)?;
    let mut found: Vec<Option<ScanFeatures>> = vec![None; indices.len()];
    let mut keys = vec![None; indices.len()];
    let limit = session.batch(3 * request.size.area() * size_of::<f32>());
    let mut extractor = Extractor::new(request.size, *request.preprocess);
    let of = |i: &usize| data.samples[indices[*i]].name.clone();
    let mut collectors: Vec<Option<Collector>> = indices.iter().map(|_| None).collect();
    let mut geometries = vec![None; indices.len()];
    for (i, &index) in indices.iter().enumerate() {
        let sample = &data.samples[index];
        let mut stamp = None;
        if let Some(cache) = cache {
            stamp = sample.source.stamp()?;
            let content = sample.source.digest(request.read)?;
            let key = cache.key(&session.engine().about().sha256, &content, request);
            found[i] = cache.get(&key);
            keys[i] = Some(key);
        }
        if let Some(features) = &found[i] {
            // The frame limit also applies to cached features.
            check_frames(&sample.name, Some(features.rows.nrows()), request.read.most_frames())?;
            tick();
            continue;
        }
        let mut scan = sample.source.scan(request.read)?;
        collectors[i] = Some(Collector::new(request.tokens.map(|layers| (0..layers.len()).collect())));
        while let Some(frame) = scan.next() {
            let frame = frame?;
            geometries[i].get_or_insert_with(|| Geometry::of(scan.info(), &frame));
            extractor.push(i, &frame);
            if extractor.waiting() >= limit {
                extractor.run(session, of, |i, features| add(&mut collectors, *i, features))?;
            }
        }
        // Otherwise the cache would hold one file's features under another's digest.
        if let Some(path) = stamp.as_ref().and_then(Stamp::changed) {
            return Err(InputError::Changed { path: path.into() }.into());
        }
        tick();
    }
    extractor.run(session, of, |i, features| add(&mut collectors, *i, features))?;
    for (i, collector) in collectors.into_iter().enumerate() {
        let (Some(collector), Some(geometry)) = (collector, geometries[i]) else { continue };
        let features = collector.finish(geometry);
        if let (Some(cache), Some(key)) = (cache, &keys[i]) {
            cache.put(key, &features);
        }
        found[i] = Some(features);
    }
    Ok(found.into_iter().map(|features| features.expect("cached or computed")).collect())
}

/// Adds a frame's features to those of its scan, the example `i`.
fn add(collectors: &mut [Option<Collector>], i: usize, features: &Features) -> Result<(), FeatureError> {
    collectors[i].as_mut().expect("made before its first frame").add(features)
}
