//! Models, and features as arrays.

use std::collections::BTreeMap;
use std::sync::Mutex;

use microraptor::{Cores, CpuList, Engine, Extractor, FeatureError, Isa, ReadOptions, Session, Size};
use numpy::ndarray::{Array2, Array3, ArrayD, IxDyn};
use numpy::{IntoPyArray, PyArray2, PyArray3, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::failed;
use crate::pictures::{Picture, pictures};

/// A backbone with its threads.
#[pyclass(frozen, module = "microraptor")]
pub struct Model {
    pub engine: Engine,
    /// What its sessions run on.
    pub cores: Cores,
    session: Mutex<Session>,
}

/// Features of pictures, each an array whose first axis is the picture (or the frame).
#[pyclass(frozen, get_all, module = "microraptor")]
pub struct Features {
    /// Class tokens, float32 [n, dim].
    cls: Py<PyArray2<f32>>,
    /// Patch tokens, float32 [n, rows * columns, dim].
    patch: Py<PyArray3<f32>>,
    /// Patch tokens of the layers asked for, as `patch`.
    layers: Vec<Py<PyArray3<f32>>>,
    /// Other outputs of a graph, by name.
    outputs: Py<PyDict>,
    /// Rows and columns of patches; (0, 0) if they are not known.
    grid: (usize, usize),
}

#[pymethods]
impl Features {
    /// What linear heads read: the class token and the mean of the patch tokens, float32 [n, 2 * dim].
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (cls, patch) = (self.cls.bind(py).try_readonly()?, self.patch.bind(py).try_readonly()?);
        let (cls, patch) = (cls.as_array(), patch.as_array());
        let mut rows = Vec::new();
        for (cls, patch) in cls.rows().into_iter().zip(patch.outer_iter()) {
            let patch: Vec<f32> = patch.iter().copied().collect();
            rows.extend(microraptor::features::cls_and_mean(&cls.to_vec(), &patch));
        }
        let width = rows.len() / cls.nrows().max(1);
        let rows = Array2::from_shape_vec((cls.nrows(), width), rows).map_err(failed)?;
        Ok(rows.into_pyarray(py))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.cls.bind(py).shape()[0]
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let shape = self.patch.bind(py).shape();
        format!("Features(patch {shape:?}, grid {:?}, layers {})", self.grid, self.layers.len())
    }
}

/// What is collected of all pictures, to become arrays.
#[derive(Default)]
struct Collected {
    count: usize,
    dim: usize,
    tokens: usize,
    grid: (usize, usize),
    cls: Vec<f32>,
    patch: Vec<f32>,
    layers: Vec<Vec<f32>>,
    outputs: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Collected {
    fn add(&mut self, features: &microraptor::Features) -> PyResult<()> {
        let tokens = features.patch.len() / features.dim().max(1);
        let grid = (features.rows, features.cols);
        if self.count > 0 && (self.dim, self.tokens, self.grid) != (features.dim(), tokens, grid) {
            return Err(PyValueError::new_err("pictures give features of different shapes: give a size"));
        }
        (self.dim, self.tokens, self.grid) = (features.dim(), tokens, grid);
        self.count += 1;
        self.cls.extend_from_slice(&features.cls);
        self.patch.extend_from_slice(&features.patch);
        self.layers.resize(features.layers.len(), Vec::new());
        self.layers.iter_mut().zip(&features.layers).for_each(|(all, layer)| all.extend_from_slice(layer));
        for output in &features.outputs {
            let (shape, all) = self.outputs.entry(output.name.clone()).or_default();
            shape.clone_from(&output.shape);
            all.extend_from_slice(&output.values);
        }
        Ok(())
    }

    fn arrays(self, py: Python<'_>) -> PyResult<Features> {
        let Collected { count, dim, tokens, grid, cls, patch, layers, outputs } = self;
        let three = |values: Vec<f32>| Array3::from_shape_vec((count, tokens, dim), values).map_err(failed);
        let named = PyDict::new(py);
        for (name, (mut shape, values)) in outputs {
            match shape.first_mut() {
                Some(first @ 1) => *first = count,
                _ => shape.insert(0, count),
            }
            named.set_item(
                name,
                ArrayD::from_shape_vec(IxDyn(&shape), values).map_err(failed)?.into_pyarray(py),
            )?;
        }
        let layers = layers.into_iter().map(|layer| Ok(three(layer)?.into_pyarray(py).unbind()));
        Ok(Features {
            cls: Array2::from_shape_vec((count, dim), cls).map_err(failed)?.into_pyarray(py).unbind(),
            patch: three(patch)?.into_pyarray(py).unbind(),
            layers: layers.collect::<PyResult<Vec<_>>>()?,
            outputs: named.unbind(),
            grid,
        })
    }
}

/// A size as an integer, or as (height, width).
pub fn size(given: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Size>> {
    let Some(given) = given else { return Ok(None) };
    if let Ok(side) = given.extract::<usize>() {
        return Ok(Some(Size::square(side)));
    }
    let (height, width) = given.extract::<(usize, usize)>()?;
    Ok(Some(Size { height, width }))
}

#[pymethods]
impl Model {
    /// Opens a converted model, a checkpoint folder or an ONNX file; "demo" is the built-in backbone.
    #[staticmethod]
    #[pyo3(signature = (path, *, threads = 1, cores = None, isa = None))]
    fn open(
        py: Python<'_>,
        path: std::path::PathBuf,
        threads: usize,
        cores: Option<&str>,
        isa: Option<&str>,
    ) -> PyResult<Model> {
        let isa = isa.map_or_else(Isa::preferred, Isa::named).map_err(failed)?;
        let cores = match cores {
            None => Cores::from(threads),
            Some(list) => Cores::new(threads, list.parse::<CpuList>().map_err(failed)?),
        };
        py.detach(|| {
            let demo = path == std::path::Path::new("demo");
            let engine =
                if demo { Engine::demo(isa) } else { Engine::open_for(&path, isa) }.map_err(failed)?;
            let session = Mutex::new(engine.session(cores.clone()).map_err(failed)?);
            Ok(Model { engine, cores, session })
        })
    }

    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        &self.engine.about().name
    }

    /// SHA-256 of its file.
    #[getter]
    fn sha256(&self) -> &str {
        &self.engine.about().sha256
    }

    /// What runs it.
    #[getter]
    fn runs_on(&self) -> String {
        self.engine.about().runs_on()
    }

    /// Width of a token, or None if it is not known before a run.
    #[getter]
    fn dim(&self) -> Option<usize> {
        self.engine.config().map(|config| config.dim)
    }

    /// Side of a patch, or None.
    #[getter]
    fn patch(&self) -> Option<usize> {
        self.engine.patch()
    }

    /// Names of a graph's outputs.
    #[getter]
    fn outputs(&self) -> Vec<String> {
        self.engine.outputs().to_vec()
    }

    /// Features of a picture or of several: arrays [height, width] or [height, width, 3] of uint8 or uint16 (or one of
    /// [n, height, width, 3]), or paths of anything that the program reads (a clip gives features of each frame). `size`
    /// is the network's input, an integer or (height, width); 224 unless the model takes only one. `layers` are blocks
    /// from 0 whose patch tokens are wanted too. The interpreter is free while the network runs.
    #[pyo3(signature = (images, *, size = None, layers = Vec::new()))]
    fn embed(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        size: Option<&Bound<'_, PyAny>>,
        layers: Vec<usize>,
    ) -> PyResult<Features> {
        let given = pictures(images)?;
        let size = self::size(size)?.or(self.engine.fixed_size()).unwrap_or(Size::square(224));
        let found = py.detach(|| self.collect(&given, size, &layers))?;
        found.arrays(py)
    }

    fn __repr__(&self) -> String {
        format!("Model({}, {})", self.name(), self.runs_on())
    }
}

impl Model {
    fn collect(&self, given: &[Picture], size: Size, layers: &[usize]) -> PyResult<Collected> {
        self.engine.check_size(size).map_err(failed)?;
        let mut collected = Collected::default();
        self.with_session(|session| {
            session.keep_layers(layers).map_err(failed)?;
            let mut extractor = Extractor::new(size, self.engine.about().preprocess);
            for (number, picture) in given.iter().enumerate() {
                picture.frames(&ReadOptions::default(), |frame| {
                    extractor.push(number, frame);
                    extractor.run(
                        session,
                        |number| format!("picture {number}"),
                        |_, features| collected.add(features).map_err(Failed::Python),
                    )?;
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        Ok(collected)
    }

    pub fn with_session<R>(&self, work: impl FnOnce(&mut Session) -> PyResult<R>) -> PyResult<R> {
        let mut session =
            self.session.lock().map_err(|_| failed("a fault ended a call on this model: open it again"))?;
        work(&mut session)
    }
}

/// A failure of the library, or an exception of ours.
enum Failed {
    Python(PyErr),
    Features(FeatureError),
}

impl From<FeatureError> for Failed {
    fn from(error: FeatureError) -> Failed {
        Failed::Features(error)
    }
}

impl From<Failed> for PyErr {
    fn from(error: Failed) -> PyErr {
        match error {
            Failed::Python(error) => error,
            Failed::Features(error) => failed(error),
        }
    }
}
