//! The graph around a backbone, for each size of image.

use std::path::Path;
use std::sync::Arc;

use prost::Message;
use serde::{Deserialize, Serialize};
use tract_core::internal::{IntoRunnable, OutletId, Tensor, TractErrorContext, TractResult, TypedModel};
use tract_onnx::pb::ModelProto;

use super::check::bounded;
use super::cut::{Cut, Joint, cut};
use super::load::{Document, Source, guarded};
use super::recognise::Found;
use super::{GraphParts, OnnxError, try_out};
use crate::vit::{Config, Positions, Size, Weights};

/// The graph around a backbone: what makes its pixels of the graph's input, and what is made of its tokens.
#[derive(Clone, Debug)]
pub struct Surroundings {
    parts: Arc<Parts>,
    /// The graph's input, then what the backbone makes; its outputs, and the pixels if it makes them.
    rest: Source,
    /// From the graph's input to the pixels, if they are not the same.
    front: Option<Source>,
    /// From the graph's input and the embedded patches to the stream before the first block, if the graph resamples
    /// learned positions.
    start: Option<Source>,
}

/// The same as protobuf messages.
#[derive(Debug, PartialEq)]
struct Parts {
    about: About,
    rest: ModelProto,
    front: Option<ModelProto>,
    start: Option<ModelProto>,
}

/// What the parts do not say themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct About {
    /// What the backbone makes, in the order of the inputs of `rest` behind the first.
    joints: Vec<Joint>,
    /// Whether the graph normalises the last block's tokens: without it the backbone's tokens are not the graph's.
    normalised: bool,
    /// [`Document::notes`].
    notes: Vec<String>,
}

impl PartialEq for Surroundings {
    fn eq(&self, other: &Surroundings) -> bool {
        self.parts == other.parts
    }
}

/// The graph around a backbone for one size, in which the backbone is to be put.
pub(crate) struct Within {
    /// The graph. Its inputs are images and, for each of `joints`, what the backbone makes.
    pub model: TypedModel,
    /// What the backbone makes, in the order of the inputs behind the first.
    pub joints: Vec<Joint>,
    /// What the backbone reads.
    pub pixels: OutletId,
    /// Height and width of what it reads.
    pub size: Size,
    /// Number of images at once.
    pub batch: usize,
    /// The stream before the first block for patches that are zero, `[tokens, dim]`, if the backbone does not know it.
    pub base: Option<Vec<f32>>,
    /// Number of outputs that are the graph's own.
    pub outputs: usize,
}

impl Surroundings {
    /// The graph of `document`, parsed as `source`, around `found`, which was recognised in `model`, the typed graph of
    /// `searched`; `None` if it cannot be cut out.
    pub(super) fn of(
        document: &Document,
        source: &Source,
        searched: &ModelProto,
        model: &TypedModel,
        found: &Found,
    ) -> Result<Option<Surroundings>, OnnxError> {
        // A graph may cut an image into several.
        if source.input()?.batch != found.batch {
            return Ok(None);
        }
        let Some(Cut { rest, joints, front, start }) = cut(&document.proto, searched, model, found) else {
            return Ok(None);
        };
        let fixed = source.fixed_size().is_some();
        let resampled = found.config.positions != Positions::Rope && !fixed;
        let about = About { joints, normalised: found.tokens.is_some(), notes: document.notes.clone() };
        Surroundings::parse(document, Parts { about, rest, front, start: start.filter(|_| resampled) })
            .map(Some)
    }

    fn parse(document: &Document, parts: Parts) -> Result<Surroundings, OnnxError> {
        let parse = |part: &Option<ModelProto>| part.as_ref().map(|part| document.parse(part)).transpose();
        let rest = document.parse(&parts.rest)?;
        let expected = 1 + parts.about.joints.len();
        if rest.inputs() != expected {
            let reason =
                format!("the graph around the backbone has {} inputs, not {expected}", rest.inputs());
            return Err(OnnxError::Damaged { path: rest.path().into(), reason });
        }
        Ok(Surroundings {
            front: parse(&parts.front)?,
            start: parse(&parts.start)?,
            rest,
            parts: Arc::new(parts),
        })
    }

    /// The graph as it is stored in a converted model.
    pub(crate) fn stored(&self) -> GraphParts {
        let Parts { about, rest, front, start } = &*self.parts;
        let named = [("rest", Some(rest)), ("front", front.as_ref()), ("start", start.as_ref())];
        let parts =
            named.into_iter().filter_map(|(name, part)| Some((name.to_owned(), part?.encode_to_vec())));
        GraphParts { about: serde_json::to_string(about).expect("plain data"), parts: parts.collect() }
    }

    /// The graph that is stored in the converted model at `path`, a file of the given SHA-256.
    pub(crate) fn from_stored(
        path: &Path,
        stored: &GraphParts,
        sha256: &str,
    ) -> Result<Surroundings, OnnxError> {
        try_out(path, None)?;
        let damaged = |reason: String| OnnxError::Damaged { path: path.into(), reason };
        let about = serde_json::from_str(&stored.about).map_err(|error| damaged(error.to_string()))?;
        let part = |name: &str| -> Result<Option<ModelProto>, OnnxError> {
            let Some((_, bytes)) = stored.parts.iter().find(|(other, _)| other == name) else {
                return Ok(None);
            };
            let part = guarded(|| Ok(ModelProto::decode(&bytes[..])?)).map_err(damaged)?;
            // A part may have no nodes: an output can be what the backbone makes.
            bounded(&part, path)?;
            Ok(Some(part))
        };
        let rest = part("rest")?.ok_or_else(|| damaged("it holds no graph around its backbone".into()))?;
        let parts = Parts { about, rest, front: part("front")?, start: part("start")? };
        let document = Document::stored(path.into(), &parts.rest, sha256, parts.about.notes.clone());
        Surroundings::parse(&document, parts)
    }

    /// The images that the backbone sees of `images` (each `[3, height, width]` of `size`), and their size.
    ///
    /// # Errors
    /// [`OnnxError`] if the graph does not take images of this size.
    pub(crate) fn seen(&self, images: &[Vec<f32>], size: Size) -> Result<(Vec<Vec<f32>>, Size), OnnxError> {
        let Some(front) = &self.front else { return Ok((images.to_vec(), size)) };
        let image = front.image(size)?;
        let seen = self.pixels_of(front, &image)?;
        let model = front.typed_for(&[image.to_vec()])?;
        let plan = front.guarded(|| model.into_optimized()?.into_runnable())?;
        let one = |pixels: &Vec<f32>| {
            front.guarded(|| {
                // A batch of the same image.
                let input = Tensor::from_shape(&image, &pixels.repeat(image[0]))?;
                let outputs = plan.run([input.into()].into_iter().collect())?;
                let made = outputs[0].to_plain_array_view::<f32>()?;
                Ok(made.iter().copied().take(3 * seen.area()).collect())
            })
        };
        Ok((images.iter().map(one).collect::<Result<_, _>>()?, seen))
    }

    /// Puts the graph's positions for images of `size` among the parameters of its backbone, if it resamples them.
    ///
    /// # Errors
    /// [`OnnxError`] if the graph does not take images of this size.
    pub(crate) fn place(
        &self,
        config: &mut Config,
        weights: &mut Weights,
        size: Size,
    ) -> Result<(), OnnxError> {
        let image = self.rest.image(size)?;
        let (_, (rows, cols)) = self.cut_into(config, size, &image)?;
        let Some(base) = self.base(config, &image, (rows, cols))? else { return Ok(()) };
        let (prefix, patches) = base.split_at(config.prefix() * config.dim);
        let (cls, registers) = prefix.split_at(config.dim);
        (weights.cls, weights.registers) = (cls.to_vec(), registers.to_vec());
        weights.positions = [&vec![0.0; config.dim][..], patches].concat();
        config.positions = Positions::learned(rows, cols);
        Ok(())
    }

    /// The input size of a graph that takes only one.
    pub fn fixed_size(&self) -> Option<Size> {
        self.rest.fixed_size()
    }

    /// The graph without the backbone.
    pub(crate) fn source(&self) -> &Source {
        &self.rest
    }

    /// Whether the backbone reads the graph's input as it is: a graph may normalise or resize it first.
    pub fn reads_pixels(&self) -> bool {
        self.front.is_none()
    }

    /// Whether the graph computes neither the backbone's pixels nor its positions.
    pub(crate) fn leaves_the_backbone_alone(&self) -> bool {
        self.front.is_none() && self.start.is_none()
    }

    /// Whether the graph has the tokens that the backbone gives, after a final norm.
    pub(crate) fn normalised(&self) -> bool {
        self.parts.about.normalised
    }

    /// The names of the graph's own outputs.
    pub(crate) fn outputs(&self) -> &[String] {
        let made = usize::from(self.front.is_some());
        &self.rest.outputs[..self.rest.outputs.len() - made]
    }

    /// The graph for images of `size` around a backbone of the architecture `config`.
    pub(crate) fn within(&self, config: &Config, size: Size) -> Result<Within, OnnxError> {
        let image = self.rest.image(size)?;
        let (seen, (rows, cols)) = self.cut_into(config, size, &image)?;
        let tokens = config.prefix() + rows * cols;
        let batch = image[0];
        let mut shapes = vec![image.to_vec()];
        shapes.resize(1 + self.parts.about.joints.len(), vec![batch, tokens, config.dim]);
        let model = self.rest.typed_for(&shapes)?;
        let pixels = self.rest.guarded(|| {
            let outlet = match &self.front {
                Some(_) => model.output_outlets()?.last(),
                None => model.input_outlets()?.first(),
            };
            Ok(*outlet.context("a graph without pixels")?)
        })?;
        let base = self.base(config, &image, (rows, cols))?;
        let (joints, outputs) = (self.parts.about.joints.clone(), self.outputs().len());
        Ok(Within { model, joints, pixels, size: seen, batch, base, outputs })
    }

    /// Height and width of what the backbone sees of an image of `size` and the shape `image`, and the rows and columns of
    /// patches into which it cuts that.
    fn cut_into(
        &self,
        config: &Config,
        size: Size,
        image: &[usize; 4],
    ) -> Result<(Size, (usize, usize)), OnnxError> {
        let seen = match &self.front {
            Some(front) => self.pixels_of(front, image)?,
            None => size,
        };
        let grid = seen.grid(config.patch).map_err(|error| self.refused(error.to_string()))?;
        Ok((seen, grid))
    }

    /// Height and width of the pixels that `front` makes of an image.
    fn pixels_of(&self, front: &Source, image: &[usize; 4]) -> Result<Size, OnnxError> {
        let model = front.typed_for(&[image.to_vec()])?;
        let shape = front.guarded(|| Ok(model.output_fact(0)?.shape.as_concrete().map(<[usize]>::to_vec)))?;
        match shape.as_deref() {
            Some(&[batch, 3, height, width]) if batch == image[0] => Ok(Size { height, width }),
            _ => Err(self.refused(format!("its backbone reads the shape {shape:?}"))),
        }
    }

    /// The stream before the first block for patches that are zero, if the graph resamples positions.
    fn base(
        &self,
        config: &Config,
        image: &[usize; 4],
        (rows, cols): (usize, usize),
    ) -> Result<Option<Vec<f32>>, OnnxError> {
        let Some(start) = &self.start else { return Ok(None) };
        let patches = [image[0], config.dim, rows, cols];
        let mut shapes = vec![image.to_vec()];
        shapes.resize(start.inputs().max(1), patches.to_vec());
        let model = start.typed_for(&shapes)?;
        let values: Vec<f32> = start.guarded(|| {
            let zeros =
                shapes.iter().map(|shape| Tensor::zero::<f32>(shape)).collect::<TractResult<Vec<_>>>()?;
            let outputs =
                model.into_optimized()?.into_runnable()?.run(zeros.into_iter().map(Into::into).collect())?;
            Ok(outputs[0].to_plain_array_view::<f32>()?.iter().copied().collect())
        })?;
        let expected = (config.prefix() + rows * cols) * config.dim;
        if values.len() != image[0] * expected || values.iter().any(|value| !value.is_finite()) {
            return Err(self.refused("its positions cannot be computed for this size".into()));
        }
        Ok(Some(values[..expected].to_vec()))
    }

    fn refused(&self, reason: String) -> OnnxError {
        OnnxError::Tract { path: self.rest.path().into(), reason }
    }
}
