//! Pictures as Python has them: arrays, paths, or lists of both.

use std::path::PathBuf;

use microraptor::{Image, ReadOptions, Scan};
use numpy::{PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::error::failed;

/// A picture that is read when its turn comes.
pub enum Picture {
    Path(PathBuf),
    Pixels(Image),
}

/// One picture or several: a sequence, or an array with an axis in front.
pub fn pictures(given: &Bound<'_, PyAny>) -> PyResult<Vec<Picture>> {
    let several = match given.cast::<PyUntypedArray>() {
        Ok(array) => array.ndim() == 4,
        Err(_) => given.is_instance_of::<PyList>() || given.is_instance_of::<PyTuple>(),
    };
    if several {
        return given.try_iter()?.map(|item| picture(&item?)).collect();
    }
    Ok(vec![picture(given)?])
}

fn picture(given: &Bound<'_, PyAny>) -> PyResult<Picture> {
    if let Ok(array) = given.cast::<PyUntypedArray>() {
        return pixels(array).map(Picture::Pixels);
    }
    match given.extract::<PathBuf>() {
        Ok(path) => Ok(Picture::Path(path)),
        Err(_) => Err(PyTypeError::new_err(format!(
            "a picture is a path or an array of uint8 or uint16, not {}",
            given.get_type().name()?
        ))),
    }
}

/// `[height, width]` or `[height, width, 3]` of uint8 or uint16.
fn pixels(array: &Bound<'_, PyUntypedArray>) -> PyResult<Image> {
    let (height, width, colour) = match *array.shape() {
        [height, width] => (height, width, false),
        [height, width, 3] => (height, width, true),
        ref shape => {
            let text = format!("an array of shape {shape:?}: give [height, width] or [height, width, 3]");
            return Err(PyValueError::new_err(text));
        }
    };
    if let Ok(bytes) = array.as_any().extract::<PyReadonlyArrayDyn<'_, u8>>() {
        let values: Vec<u8> = bytes.as_array().iter().copied().collect();
        let image = if colour {
            Image::from_rgb8(width, height, values)
        } else {
            Image::from_grey8(width, height, values)
        };
        return image.map_err(failed);
    }
    if let Ok(words) = array.as_any().extract::<PyReadonlyArrayDyn<'_, u16>>() {
        let values: Vec<u16> = words.as_array().iter().copied().collect();
        let image = if colour {
            Image::from_rgb16(width, height, values)
        } else {
            Image::from_grey16(width, height, values)
        };
        return image.map_err(failed);
    }
    Err(PyTypeError::new_err(format!("an array of {}: give uint8 or uint16", array.dtype())))
}

impl Picture {
    /// The frames, read as a head asks for.
    pub fn frames(
        &self,
        read: &ReadOptions,
        mut take: impl FnMut(&Image) -> PyResult<()>,
    ) -> PyResult<usize> {
        match self {
            Picture::Pixels(image) => take(image).map(|()| 1),
            Picture::Path(path) => {
                let scan = Scan::open(path, read).map_err(failed)?;
                let mut count = 0;
                for frame in scan {
                    take(&frame.map_err(failed)?)?;
                    count += 1;
                }
                Ok(count)
            }
        }
    }
}
