//! Failures as exceptions, with the library's messages.

use std::fmt::Display;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

pyo3::create_exception!(
    microraptor,
    MicroraptorError,
    PyException,
    "A call that failed; the message says what to do."
);

/// The exception for an error of the library.
pub fn failed(error: impl Display) -> PyErr {
    MicroraptorError::new_err(error.to_string())
}
