//! Heads: loading, training, predicting, evaluating.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use microraptor::features::{Geometry, ScanFeatures};
use microraptor::training::{
    Bootstrap, CertaintyOptions, Dataset, DrawnSplit, Evaluation, EvaluationSet, FitOptions, ProbeSearch,
    Provenance, Recipe, Request, Sample, Source, ValidationSummary, certainty, evaluate, gather,
};
use microraptor::{HeadModel, Isa, Outcome, Pipeline, ReadOptions, Size};
use numpy::ndarray::{Array1, Array2, Array3};
use numpy::{IntoPyArray, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

use crate::error::failed;
use crate::model::{Model, size};
use crate::pictures::{Picture, pictures};

/// A trained head on a model.
#[pyclass(frozen, module = "microraptor")]
pub struct Head {
    model: Py<Model>,
    head: Arc<microraptor::Head>,
    pipeline: Mutex<Pipeline>,
}

/// What a head says of one picture.
enum Said {
    Probabilities(Vec<f64>, Vec<usize>),
    Mask(microraptor::LabelMap),
}

impl Head {
    fn on(py: Python<'_>, model: &Bound<'_, Model>, head: microraptor::Head) -> PyResult<Head> {
        let head = Arc::new(head);
        let open = model.get();
        let pipeline = py.detach(|| {
            let session = open.engine.session(open.cores.clone()).map_err(failed)?;
            Pipeline::new(session, std::slice::from_ref(&head)).map_err(failed)
        })?;
        Ok(Head { model: model.clone().unbind(), head, pipeline: Mutex::new(pipeline) })
    }

    /// What the head says of each picture: of a clip or a volume as a whole.
    fn say(&self, given: &[Picture]) -> PyResult<Vec<Said>> {
        let mut pipeline =
            self.pipeline.lock().map_err(|_| failed("a fault ended a call on this head: load it again"))?;
        let mut all = Vec::with_capacity(given.len());
        for picture in given {
            let (name, mut single) = ("picture", Vec::new());
            let mut first = true;
            let frames = picture.frames(&self.head.read, |frame| {
                if std::mem::take(&mut first) {
                    pipeline.begin(name, Geometry::of_image(frame));
                }
                pipeline.extend(std::slice::from_ref(frame)).map_err(failed)
            })?;
            let mut answers = pipeline.finish().map_err(failed)?;
            single.append(&mut answers);
            match single.pop().map(|answer| answer.outcome) {
                Some(Outcome::Classes { prediction, .. }) => {
                    all.push(Said::Probabilities(prediction.probabilities, prediction.classes));
                }
                Some(Outcome::Mask(mask)) => all.push(Said::Mask(mask)),
                None => return Err(failed(format!("the head says nothing of a picture of {frames} frames"))),
            }
        }
        Ok(all)
    }

    fn names(&self, classes: &[usize]) -> Vec<String> {
        classes.iter().map(|&class| self.head.model.classes()[class].clone()).collect()
    }
}

#[pymethods]
impl Head {
    /// Loads a head that was trained on `model`.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf, model: &Bound<'_, Model>) -> PyResult<Head> {
        let head = py.detach(|| microraptor::Head::load(&path).map_err(failed))?;
        Head::on(py, model, head)
    }

    /// Trains a head on pictures and the names of their classes: a "linear" one, or "knn". `validation` of them select the
    /// regularisation (or k) and the limit from which on a picture counts as unlike the others. With `calibrate` the
    /// probabilities are calibrated on the others, if that helps, and `predict_set` works ("linear"; "knn": the sets alone).
    #[staticmethod]
    #[pyo3(signature = (model, images, labels, *, kind = "linear", size = None, validation = 0.25, seed = 0, calibrate = false))]
    #[allow(clippy::too_many_arguments, reason = "keywords of a Python function")]
    fn train(
        py: Python<'_>,
        model: &Bound<'_, Model>,
        images: &Bound<'_, PyAny>,
        labels: Vec<String>,
        kind: &str,
        size: Option<&Bound<'_, PyAny>>,
        validation: f64,
        seed: u64,
        calibrate: bool,
    ) -> PyResult<Head> {
        let recipe = match kind {
            "linear" => Recipe::default(),
            "knn" => Recipe::Knn { k: None, temperature: 0.07, int8: false },
            other => return Err(PyValueError::new_err(format!("kind '{other}': give linear or knn"))),
        };
        let (data, open) = (dataset(pictures(images)?, &labels, None)?, model.get());
        let size = self::size(size)?.or(open.engine.fixed_size()).unwrap_or(Size::square(224));
        let head = py.detach(|| {
            let (read, all) = (ReadOptions::default(), (0..data.samples.len()).collect::<Vec<_>>());
            let request =
                Request { size, preprocess: &open.engine.about().preprocess, read: &read, tokens: None };
            let features = open.with_session(|session| {
                gather(session, &data, &all, &request, None, &|| {}).map_err(failed)
            })?;
            let parts = data.split(seed, validation).map_err(failed)?;
            let set = EvaluationSet {
                data: &data,
                mask_classes: &[],
                features: &features,
                masks: &[],
                multi_label: false,
            };
            let isa = Isa::preferred().map_err(failed)?;
            let mut fitted =
                recipe.fit(&set, &parts.train, &parts.val, isa, &mut |_, _| {}).map_err(failed)?;
            let used = (&parts.train[..], &parts.val[..]);
            let options = CertaintyOptions {
                calibrate: calibrate && fitted.model.has_logits(),
                sets: calibrate,
                seed,
                ..CertaintyOptions::default()
            };
            let how = (isa, &Bootstrap::default());
            let learned = match options.any() {
                true => Some(
                    certainty(
                        &recipe,
                        &set,
                        (used.0, used.1, &[]),
                        &mut fitted,
                        &options,
                        how,
                        &mut |_, _| {},
                    )
                    .map_err(failed)?,
                ),
                false => None,
            };
            let found = evaluate(&fitted.model, &set, &parts.val, None, isa, &Bootstrap::default())
                .map_err(failed)?;
            let provenance = Provenance { read, drawn: DrawnSplit::of(&data, seed, validation) };
            let summary = ValidationSummary::from(&found);
            let head =
                microraptor::Head::fitted(open.engine.about(), size, &set, used, fitted, summary, provenance)
                    .map_err(failed)?;
            Ok::<_, PyErr>(match &learned {
                Some(learned) => head.learned(learned),
                None => head,
            })
        })?;
        Head::on(py, model, head)
    }

    /// Writes the head; the program reads it as one of its own.
    fn save(&self, path: PathBuf) -> PyResult<()> {
        self.head.save(path).map_err(failed)
    }

    /// Names of the classes; of a mask the first is the background.
    #[getter]
    fn classes(&self) -> Vec<String> {
        self.head.model.classes().to_vec()
    }

    /// Its kind, such as "linear" or "segment".
    #[getter]
    fn kind(&self) -> &'static str {
        self.head.model.kind()
    }

    /// The model.
    #[getter]
    fn model(&self, py: Python<'_>) -> Py<Model> {
        self.model.clone_ref(py)
    }

    /// The network's input, (height, width).
    #[getter]
    fn size(&self) -> (usize, usize) {
        (self.head.size.height, self.head.size.width)
    }

    /// The class of each picture (a list of classes from a multi-label head), or its mask: uint8 [height, width], and
    /// [frames, height, width] of a clip or a volume.
    fn predict<'py>(&self, py: Python<'py>, images: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let given = pictures(images)?;
        let said = py.detach(|| self.say(&given))?;
        let multi_label = self.head.model.multi_label();
        let one = |said: Said| match said {
            Said::Probabilities(_, classes) if multi_label => {
                Ok(self.names(&classes).into_pyobject(py)?.into_any())
            }
            Said::Probabilities(_, classes) => {
                let name = self.names(&classes).pop().unwrap_or_default();
                Ok(name.into_pyobject(py)?.into_any())
            }
            Said::Mask(mask) if mask.depth == 1 => {
                let mask = Array2::from_shape_vec((mask.height, mask.width), mask.labels).map_err(failed)?;
                Ok(mask.into_pyarray(py).into_any())
            }
            Said::Mask(mask) => {
                let shape = (mask.depth, mask.height, mask.width);
                Ok(Array3::from_shape_vec(shape, mask.labels).map_err(failed)?.into_pyarray(py).into_any())
            }
        };
        said.into_iter().map(one).collect()
    }

    /// The probability of each class for each picture: float64 [n, classes].
    fn predict_proba<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let given = pictures(images)?;
        let said = py.detach(|| self.say(&given))?;
        let mut values = Vec::new();
        for said in &said {
            let Said::Probabilities(probabilities, _) = said else {
                return Err(PyTypeError::new_err("this head makes masks: predict gives them"));
            };
            values.extend_from_slice(probabilities);
        }
        let classes = values.len() / said.len().max(1);
        Ok(Array2::from_shape_vec((said.len(), classes), values).map_err(failed)?.into_pyarray(py))
    }

    /// For each picture the classes of which the true one is with the probability `coverage` (None: that of the head's
    /// training), for a head with held-out scores: none, one or several.
    #[pyo3(signature = (images, coverage = None))]
    fn predict_set(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        coverage: Option<f64>,
    ) -> PyResult<Vec<Vec<String>>> {
        let rule = self.head.set_rule(coverage).map_err(failed)?;
        let rule =
            rule.ok_or_else(|| PyValueError::new_err("say a coverage, such as 0.9: the head has none"))?;
        let given = pictures(images)?;
        let said = py.detach(|| self.say(&given))?;
        let one = |said: Said| match said {
            Said::Probabilities(probabilities, _) => Ok(self.names(&rule.set(&probabilities))),
            Said::Mask(_) => Err(PyTypeError::new_err("this head makes masks: predict gives them")),
        };
        said.into_iter().map(one).collect()
    }

    /// The report on pictures and the names of their classes, as JSON: what `microraptor evaluate --json` says of a
    /// data set, with intervals of confidence.
    fn evaluate_json(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        labels: Vec<String>,
    ) -> PyResult<String> {
        let classes = self.head.model.classes();
        let (data, open) = (dataset(pictures(images)?, &labels, Some(classes))?, self.model.get());
        py.detach(|| {
            let all: Vec<usize> = (0..data.samples.len()).collect();
            let (size, read) = (self.head.size, &self.head.read);
            let request = Request { size, preprocess: &self.head.preprocess, read, tokens: None };
            let features = open.with_session(|session| {
                gather(session, &data, &all, &request, None, &|| {}).map_err(failed)
            })?;
            let set = EvaluationSet {
                data: &data,
                mask_classes: &[],
                features: &features,
                masks: &[],
                multi_label: false,
            };
            let isa = Isa::preferred().map_err(failed)?;
            let found =
                evaluate(&self.head.model, &set, &all, None, isa, &Bootstrap::default()).map_err(failed)?;
            let Evaluation::Classes(_, report) = &found else {
                return Err(failed("this head makes masks: `microraptor evaluate` compares them"));
            };
            serde_json::to_string(report).map_err(failed)
        })
    }

    fn __repr__(&self) -> String {
        format!("Head({}, {:?})", self.kind(), self.classes())
    }
}

/// A data set of pictures in memory or in files. Without `known`, the classes are the names, sorted.
fn dataset(given: Vec<Picture>, labels: &[String], known: Option<&[String]>) -> PyResult<Dataset> {
    if given.len() != labels.len() {
        let text = format!("{} pictures and {} labels", given.len(), labels.len());
        return Err(PyValueError::new_err(text));
    }
    let mut classes = known.map_or_else(|| labels.to_vec(), <[String]>::to_vec);
    if known.is_none() {
        classes.sort();
        classes.dedup();
    }
    let sample = |(number, (picture, label)): (usize, (Picture, &String))| {
        let class = classes.iter().position(|class| class == label);
        let class =
            class.ok_or_else(|| PyValueError::new_err(format!("'{label}' is none of {classes:?}")))?;
        let (name, source) = match picture {
            Picture::Path(path) => (path.display().to_string(), Source::File(path)),
            Picture::Pixels(image) => (format!("picture {number}"), Source::Memory(Arc::new(image))),
        };
        Ok(Sample { name, source, labels: vec![class], mask: None, split: None })
    };
    let samples = given.into_iter().zip(labels).enumerate().map(sample).collect::<PyResult<Vec<_>>>()?;
    Dataset::new(classes, samples).map_err(failed)
}

/// Fits logistic regression on rows [n, width] of class numbers [n]: (mean, deviation, weights [classes, width], bias, C).
/// C is the one given, or the best of a grid on a quarter of the rows.
#[pyfunction]
#[pyo3(signature = (rows, classes, count, c = None, seed = 0))]
#[allow(clippy::type_complexity, reason = "arrays that Python takes apart")]
pub fn fit_linear<'py>(
    py: Python<'py>,
    rows: PyReadonlyArray2<'py, f32>,
    classes: PyReadonlyArray1<'py, i64>,
    count: usize,
    c: Option<f64>,
    seed: u64,
) -> PyResult<(LinearModel, f64)> {
    let (rows, classes) = (rows.as_array().to_owned(), classes.as_array().to_vec());
    py.detach(|| {
        let names: Vec<String> = (0..count).map(|class| format!("{class:06}")).collect();
        let sample = |(number, &class): (usize, &i64)| {
            let class = usize::try_from(class).unwrap_or(usize::MAX);
            let source = Source::File(PathBuf::new());
            Sample { name: format!("row {number}"), source, labels: vec![class], mask: None, split: None }
        };
        let data = Dataset::new(names, classes.iter().enumerate().map(sample).collect()).map_err(failed)?;
        let geometry = Geometry::of_size(1, 1);
        let one = |row: numpy::ndarray::ArrayView1<'_, f32>| {
            let rows = row.to_owned().insert_axis(numpy::ndarray::Axis(0));
            ScanFeatures { rows, tokens: None, geometry }
        };
        let features: Vec<ScanFeatures> = rows.rows().into_iter().map(one).collect();
        let set = EvaluationSet {
            data: &data,
            mask_classes: &[],
            features: &features,
            masks: &[],
            multi_label: false,
        };
        let all: Vec<usize> = (0..data.samples.len()).collect();
        let isa = Isa::preferred().map_err(failed)?;
        let (search, train, val) = match c {
            Some(c) => (ProbeSearch { grid: vec![c], ..ProbeSearch::default() }, all.clone(), all),
            None => {
                let parts = data.split(seed, 0.25).map_err(failed)?;
                (ProbeSearch { refit: true, ..ProbeSearch::default() }, parts.train, parts.val)
            }
        };
        let recipe = Recipe::Linear(search, FitOptions::default());
        let fitted = recipe.fit(&set, &train, &val, isa, &mut |_, _| {}).map_err(failed)?;
        let HeadModel::Linear(head) = fitted.model else { return Err(failed("no linear head was fitted")) };
        Ok((LinearModel(head), fitted.c.unwrap_or(0.0)))
    })
}

/// Logistic regression on rows of features.
#[pyclass(frozen, module = "microraptor")]
pub struct LinearModel(microraptor::heads::LinearHead);

#[pymethods]
impl LinearModel {
    /// The probability of each class for each row: float64 [n, classes].
    fn probabilities<'py>(
        &self,
        py: Python<'py>,
        rows: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let rows = rows.as_array().to_owned();
        let classes = self.0.classes.len();
        let mut values = Vec::with_capacity(rows.nrows() * classes);
        for row in rows.rows() {
            let row: Array1<f32> = row.to_owned();
            values.extend(self.0.probabilities(&row.to_vec()).map_err(failed)?);
        }
        Ok(Array2::from_shape_vec((rows.nrows(), classes), values).map_err(failed)?.into_pyarray(py))
    }
}
