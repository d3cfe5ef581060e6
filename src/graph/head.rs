//! An ONNX model used as a head: from features to class scores, or a map of scores, computed by tract.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tract_core::internal::*;

use super::optimise::optimised;
use crate::checkpoint::onnx::{Document, OnnxError, Source, try_out};

/// An ONNX model with one input of 32-bit floats, of any shape.
#[derive(Clone, Debug)]
pub struct OnnxFunction {
    source: Arc<Source>,
    /// Plan for the most recent input shape.
    plan: Arc<Mutex<Option<Planned>>>,
}

/// A plan and its input shape.
type Planned = (Vec<usize>, Arc<TypedSimplePlan>);

impl OnnxFunction {
    /// Reads the model at `path`.
    ///
    /// # Errors
    /// [`OnnxError`] if the file cannot be read or is damaged, uses operators that tract lacks, or takes anything but
    /// one tensor of 32-bit floats.
    pub fn load(path: &Path) -> Result<OnnxFunction, OnnxError> {
        let source = Document::read(path)?.source()?;
        source.dims()?;
        Ok(OnnxFunction { source: Arc::new(source), plan: Arc::default() })
    }

    /// SHA-256 of the file and its external data files, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.source.sha256
    }

    /// SHA-256 of the same bytes followed by `more`: for a head whose description is in another file.
    pub fn sha256_with(&self, more: &[u8]) -> String {
        self.source.sha256_with(more)
    }

    /// Declared shape of its input, `None` for a dynamic dimension.
    pub fn input(&self) -> &[Option<usize>] {
        self.source.dims().expect("checked when it was loaded")
    }

    /// Runs the model on `values` of `shape`. Returns the shape and the values of its first output.
    ///
    /// # Errors
    /// [`OnnxError::Tract`] if tract does not accept the shape, or the output is not of 32-bit floats.
    pub fn run(&self, shape: &[usize], values: &[f32]) -> Result<(Vec<usize>, Vec<f32>), OnnxError> {
        let mut slot = self.plan.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let plan = match &*slot {
            Some((planned, plan)) if planned == shape => plan.clone(),
            _ => {
                try_out(self.source.path(), Some(shape))?;
                let model = self.source.typed_for(&[shape.to_vec()])?;
                let options = RunOptions::default();
                let plan =
                    self.source.guarded(|| TypedSimplePlan::new_with_options(optimised(model)?, &options))?;
                *slot = Some((shape.to_vec(), plan.clone()));
                plan
            }
        };
        drop(slot);
        self.source.guarded(|| {
            let outputs = plan.run(tvec![Tensor::from_shape(shape, values)?.into()])?;
            let output = outputs[0].to_plain_array_view::<f32>()?;
            Ok((output.shape().to_vec(), output.iter().copied().collect()))
        })
    }
}
