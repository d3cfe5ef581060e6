//! Microraptor for Python: models, features as numpy arrays, heads.

mod error;
mod head;
mod model;
mod pictures;
mod profile;

use pyo3::prelude::*;

#[pymodule]
fn _microraptor(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("MicroraptorError", module.py().get_type::<error::MicroraptorError>())?;
    module.add_class::<model::Model>()?;
    module.add_class::<model::Features>()?;
    module.add_class::<head::Head>()?;
    module.add_function(wrap_pyfunction!(head::fit_linear, module)?)?;
    module.add_function(wrap_pyfunction!(profile::profile_json, module)?)?;
    module.add_class::<head::LinearModel>()?;
    Ok(())
}
