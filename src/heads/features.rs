//! From labelled images, clips and volumes to features and targets.

use half::f16;
use ndarray::{Array2, Axis, s};

use super::cache::FeatureCache;
use super::segment::{Grid, Tokens};
use super::{Examples, HeadError, Targets, cls_and_mean};
use crate::engine::Session;
use crate::input::{Dataset, Image, InputError, ReadOptions, Region, Scan, ScanKind, Spacing, check_frames};
use crate::stamp::Stamp;
use crate::vit::{Features, Preprocess, Size};

/// How features are made.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Input size of the backbone.
    pub size: Size,
    /// How pixels become its input.
    pub preprocess: &'a Preprocess,
    /// How files become pixels.
    pub read: &'a ReadOptions,
    /// Whether patch tokens are kept too, and of which blocks (ascending, each once): an empty list is the last one.
    pub tokens: Option<&'a [usize]>,
}

/// What the backbone says about an image, a clip or a volume.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanFeatures {
    /// CLS ++ mean(patch tokens) of each frame, `[frames, 2 * dim]`.
    pub rows: Array2<f32>,
    /// Patch tokens of all frames, if they were asked for.
    pub tokens: Option<Tokens>,
    /// What was scanned.
    pub geometry: Geometry,
}

/// Where the pixels of the frames lie.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Geometry {
    /// One picture, frames in time, or slices.
    pub kind: ScanKind,
    /// Rows and columns of a frame as it is stored.
    pub size: (usize, usize),
    /// The part of it that was looked at, if not all.
    pub crop: Option<Region>,
    /// Millimetres, where they are known.
    pub spacing: Option<Spacing>,
}

/// Frames on their way through the backbone, of one scan after the other.
pub struct Collector {
    rows: Vec<f32>,
    width: usize,
    /// Which of the kept layers, by place; none of them is the last layer of the network.
    layers: Option<Vec<usize>>,
    tokens: Tokens,
}

impl Collector {
    /// Nothing yet. With `layers`, the patch tokens of those of [`Features::layers`] (by place; none: of the network's last
    /// layer) are kept.
    pub fn new(layers: Option<Vec<usize>>) -> Collector {
        let grid = Grid { depth: 0, height: 0, width: 0 };
        let tokens = Tokens { grid, channels: 0, values: Vec::new() };
        Collector { rows: Vec::new(), width: 0, layers, tokens }
    }

    /// Takes the features of the next frame.
    ///
    /// # Errors
    /// [`HeadError::NoGrid`] when patch tokens are asked for and nothing says where they lie.
    pub fn add(&mut self, features: &Features) -> Result<(), HeadError> {
        if self.layers.is_some() && features.rows * features.cols == 0 {
            return Err(HeadError::NoGrid);
        }
        let row = cls_and_mean(&features.cls, &features.patch);
        self.width = row.len();
        self.rows.extend(row);
        let Some(layers) = &self.layers else { return Ok(()) };
        let layers: Vec<&[f32]> = match layers.as_slice() {
            [] => vec![&features.patch],
            places => places.iter().map(|&place| features.layers[place].as_slice()).collect(),
        };
        let dim = features.dim();
        let Tokens { grid, channels, values } = &mut self.tokens;
        *grid = Grid { depth: grid.depth + 1, height: features.rows, width: features.cols };
        *channels = layers.len() * dim;
        values.reserve(features.rows * features.cols * *channels);
        for token in (0..features.rows * features.cols).map(|position| position * dim..(position + 1) * dim) {
            for layer in &layers {
                values.extend(layer[token.clone()].iter().map(|&v| f16::from_f32(v)));
            }
        }
        Ok(())
    }

    /// All frames together.
    pub fn finish(self, geometry: Geometry) -> ScanFeatures {
        let frames = self.rows.len().checked_div(self.width).unwrap_or(0);
        let rows = Array2::from_shape_vec((frames, self.width), self.rows).expect("rows of one width");
        ScanFeatures { rows, tokens: self.layers.map(|_| self.tokens), geometry }
    }
}

impl ScanFeatures {
    /// The mean of its frames' rows, `[2 * dim]`; of one frame that frame's row.
    pub fn mean_row(&self) -> Vec<f32> {
        if self.rows.nrows() == 1 {
            return self.rows.row(0).to_vec();
        }
        let n = self.rows.nrows() as f64;
        let mean =
            |column: ndarray::ArrayView1<f32>| (column.iter().map(|&v| f64::from(v)).sum::<f64>() / n) as f32;
        self.rows.columns().into_iter().map(mean).collect()
    }
}

/// Features of the examples `indices` of `data`, in that order; those that `cache` holds are not computed again. `tick`
/// is called after each.
///
/// # Errors
/// [`HeadError::Input`] when a file cannot be read, [`HeadError::Engine`] when the backbone fails on it or lacks a layer.
pub fn gather(
    session: &mut Session,
    data: &Dataset,
    indices: &[usize],
    request: &Request<'_>,
    cache: Option<&FeatureCache>,
    tick: &dyn Fn(),
) -> Result<Vec<ScanFeatures>, HeadError> {
    let engine =
        |image: &str, source| HeadError::Engine { image: image.to_owned(), source: Box::new(source) };
    if request.tokens.is_some() && request.preprocess.crop.is_some() {
        return Err(HeadError::Cropped(session.engine().about().name.clone()));
    }
    let layers = request.tokens.unwrap_or_default();
    session.keep_layers(layers).map_err(|source| engine(&session.engine().about().name, source))?;
    let mut found: Vec<Option<ScanFeatures>> = vec![None; indices.len()];
    let mut keys = vec![None; indices.len()];
    let limit = session.batch(3 * request.size.area() * size_of::<f32>());
    let mut queue = Queue { frames: Vec::new(), limit };
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
            // A limit holds whether or not the work was done before.
            check_frames(&sample.name, Some(features.rows.nrows()), request.read.most_frames())?;
            tick();
            continue;
        }
        let mut scan = sample.source.scan(request.read)?;
        collectors[i] = Some(Collector::new(request.tokens.map(|layers| (0..layers.len()).collect())));
        while let Some(frame) = scan.next() {
            let frame = frame?;
            geometries[i].get_or_insert_with(|| geometry(&scan, &frame));
            queue.frames.push((i, frame.tensor(request.size, request.preprocess)));
            if queue.frames.len() >= queue.limit {
                queue.run(session, request.size, &mut collectors, &|i| &data.samples[indices[i]].name)?;
            }
        }
        // Or the cache would hold one file's features under another's digest.
        if let Some(path) = stamp.as_ref().and_then(Stamp::changed) {
            return Err(InputError::Changed { path: path.into() }.into());
        }
        tick();
    }
    queue.run(session, request.size, &mut collectors, &|i| &data.samples[indices[i]].name)?;
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

/// Where the pixels of a scan lie, of which `frame` is one.
pub fn geometry(scan: &Scan, frame: &Image) -> Geometry {
    let info = scan.info();
    let size = info.size.unwrap_or((frame.height(), frame.width()));
    Geometry { kind: info.kind, size, crop: info.crop, spacing: info.spacing }
}

/// Frames that wait for the backbone: several at once keep every thread busy with an image of its own.
struct Queue {
    frames: Vec<(usize, Vec<f32>)>,
    limit: usize,
}

impl Queue {
    /// Runs what waits. Where the batch fails its frames run one by one, so that the error names one.
    fn run<'n>(
        &mut self,
        session: &mut Session,
        size: Size,
        collectors: &mut [Option<Collector>],
        name: &dyn Fn(usize) -> &'n String,
    ) -> Result<(), HeadError> {
        let pixels: Vec<&[f32]> = self.frames.iter().map(|(_, pixels)| pixels.as_slice()).collect();
        let mut add = |i: usize, features: &Features| {
            collectors[i].as_mut().expect("made before its first frame").add(features)
        };
        if let Ok(all) = session.run_batch(&pixels, size) {
            self.frames.iter().zip(&all).try_for_each(|((i, _), features)| add(*i, features))?;
        } else {
            for (i, pixels) in &self.frames {
                let engine = |source| HeadError::Engine { image: name(*i).clone(), source: Box::new(source) };
                add(*i, session.run(pixels, size).map_err(engine)?)?;
            }
        }
        self.frames.clear();
        Ok(())
    }
}

/// Rows of features with their targets, owned.
#[derive(Clone, Debug)]
pub struct Extracted {
    features: Array2<f32>,
    classes: Vec<usize>,
    labels: Option<Array2<bool>>,
}

impl Extracted {
    /// The rows of the examples `indices` of `data`: the mean of their frames' features.
    ///
    /// With `multi_label` an example may have any number of labels, else it has exactly one class.
    ///
    /// # Errors
    /// [`HeadError::Classes`] when an example of a single-label set has several classes, or none.
    pub fn new(
        data: &Dataset,
        indices: &[usize],
        features: &[&ScanFeatures],
        multi_label: bool,
    ) -> Result<Extracted, HeadError> {
        check_labels(data, indices, multi_label)?;
        let width = features.first().map_or(0, |f| f.rows.ncols());
        let rows: Vec<f32> = features.iter().flat_map(|f| f.mean_row()).collect();
        let features = Array2::from_shape_vec((indices.len(), width), rows)
            .expect("one backbone at one size gives rows of one length");
        let sets = indices.iter().map(|&i| &data.samples[i].labels);
        let (classes, labels) = if multi_label {
            let mut labels = Array2::default((indices.len(), data.classes.len()));
            for (mut row, set) in labels.rows_mut().into_iter().zip(sets) {
                set.iter().for_each(|&class| row[class] = true);
            }
            (vec![0; indices.len()], Some(labels))
        } else {
            (sets.map(|set| set[0]).collect(), None)
        };
        Ok(Extracted { features, classes, labels })
    }

    /// A view for fitting and measuring.
    pub fn examples(&self) -> Examples<'_> {
        Examples { features: self.features.view(), targets: self.targets() }
    }

    /// The targets alone.
    pub fn targets(&self) -> Targets<'_> {
        match &self.labels {
            Some(labels) => Targets::Labels(labels.view()),
            None => Targets::Classes(&self.classes),
        }
    }

    /// The same examples with the first half of each row, CLS, alone.
    pub fn cls(&self) -> Extracted {
        let half = self.features.ncols() / 2;
        Extracted { features: self.features.slice(s![.., ..half]).to_owned(), ..self.clone() }
    }

    /// The rows at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Extracted {
        Extracted {
            features: self.features.select(Axis(0), indices),
            classes: indices.iter().map(|&i| self.classes[i]).collect(),
            labels: self.labels.as_ref().map(|l| l.select(Axis(0), indices)),
        }
    }
}

/// Refuses examples with several classes, or none, where each must have one.
fn check_labels(data: &Dataset, indices: &[usize], multi_label: bool) -> Result<(), HeadError> {
    match indices.iter().map(|&i| &data.samples[i]).find(|s| !multi_label && s.labels.len() != 1) {
        Some(sample) => Err(HeadError::Classes(format!(
            "{} has {} labels where one class an image is expected; use a head for several labels, or give each image one",
            sample.name,
            sample.labels.len()
        ))),
        None => Ok(()),
    }
}

/// Refuses training images `indices` of `data` from which a class cannot be learned, before the work of embedding them.
///
/// # Errors
/// [`HeadError::TooFewImages`] names the class.
pub fn check_counts(data: &Dataset, indices: &[usize]) -> Result<(), HeadError> {
    for (number, class) in data.classes.iter().enumerate() {
        let found = indices.iter().filter(|&&i| data.samples[i].labels.contains(&number)).count();
        if found < 2 {
            return Err(HeadError::TooFewImages { class: class.clone(), found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_without_a_grid_are_no_patches() {
        let features = Features { cls: vec![1.0, 2.0], patch: vec![0.5; 6], ..Features::default() };
        let mut rows = Collector::new(None);
        rows.add(&features).unwrap();
        assert!(matches!(Collector::new(Some(vec![])).add(&features), Err(HeadError::NoGrid)));
        let mut dense = Collector::new(Some(vec![]));
        dense.add(&Features { rows: 1, cols: 3, ..features }).unwrap();
    }
}
