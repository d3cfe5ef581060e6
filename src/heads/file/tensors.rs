//! Conversion of a head's parameters to and from named safetensors tensors.

use half::f16;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// Tensors to write to a file.
#[derive(Default)]
pub(super) struct Outgoing(Vec<(String, Dtype, Vec<usize>, Vec<u8>)>);

/// An element type of the stored tensors.
pub(super) trait Number: Copy {
    const DTYPE: Dtype;
    fn bytes(self) -> impl IntoIterator<Item = u8>;
    fn from_bytes(bytes: &[u8]) -> Self;
    fn finite(self) -> bool;
}

macro_rules! numbers {
    ($($number:ty, $dtype:ident, $finite:expr;)*) => {
        $(impl Number for $number {
            const DTYPE: Dtype = Dtype::$dtype;
            fn bytes(self) -> impl IntoIterator<Item = u8> {
                self.to_le_bytes()
            }
            fn from_bytes(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().expect("a whole number of elements"))
            }
            fn finite(self) -> bool {
                let finite: fn($number) -> bool = $finite;
                finite(self)
            }
        })*
    };
}

numbers! {
    f64, F64, |v| v.is_finite();
    f32, F32, |v| v.is_finite();
    f16, F16, |v| v.is_finite();
    i8, I8, |_| true;
    u8, U8, |_| true;
}

impl Outgoing {
    pub(super) fn add<T: Number>(&mut self, name: &str, shape: &[usize], values: &[T]) {
        let bytes = values.iter().flat_map(|v| v.bytes()).collect();
        self.0.push((name.to_owned(), T::DTYPE, shape.to_vec(), bytes));
    }

    pub(super) fn views(&self) -> Result<Vec<(&str, TensorView<'_>)>, String> {
        self.0
            .iter()
            .map(|(name, dtype, shape, bytes)| {
                Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| e.to_string())
    }
}

/// Tensors read from a file.
pub(super) struct Incoming<'a>(pub SafeTensors<'a>);

impl Incoming<'_> {
    /// Whether there is a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }

    /// The length of a one-dimensional tensor.
    pub(super) fn length(&self, name: &str) -> Result<usize, String> {
        let tensor = self.0.tensor(name).map_err(|_| missing(name))?;
        match *tensor.shape() {
            [length] if length > 0 => Ok(length),
            _ => Err(format!("tensor '{name}' has shape {:?}, expected [length]", tensor.shape())),
        }
    }

    /// The dimensions of a two-dimensional tensor.
    pub(super) fn shape2(&self, name: &str) -> Result<(usize, usize), String> {
        let tensor = self.0.tensor(name).map_err(|_| missing(name))?;
        match *tensor.shape() {
            [rows, columns] if rows > 0 && columns > 0 => Ok((rows, columns)),
            _ => Err(format!("tensor '{name}' has shape {:?}, expected [rows, columns]", tensor.shape())),
        }
    }

    /// A tensor's values, which must be finite.
    pub(super) fn read<T: Number>(&self, name: &str, shape: &[usize]) -> Result<Vec<T>, String> {
        let tensor = self.0.tensor(name).map_err(|_| missing(name))?;
        if tensor.dtype() != T::DTYPE {
            return Err(format!("tensor '{name}' is {}, expected {}", tensor.dtype(), T::DTYPE));
        }
        if tensor.shape() != shape {
            return Err(format!("tensor '{name}' has shape {:?}, expected {shape:?}", tensor.shape()));
        }
        let values: Vec<T> = tensor.data().chunks_exact(size_of::<T>()).map(T::from_bytes).collect();
        match values.iter().position(|v| !v.finite()) {
            Some(index) => Err(format!("tensor '{name}' holds a NaN or an infinity at index {index}")),
            None => Ok(values),
        }
    }
}

fn missing(name: &str) -> String {
    format!("tensor '{name}' is missing; train the head again")
}
