//! Conversion of a head's parameters to and from named safetensors tensors.

use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use sha2::{Digest, Sha256};

use crate::checkpoint::file::hex;
use crate::heads::HeadFormatError;

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

    /// SHA-256 of names and bytes, in lower-case hex.
    pub(super) fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for (name, .., bytes) in &self.0 {
            hash.update(name);
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
        hex(&hash.finalize())
    }

    pub(super) fn views(&self) -> Result<Vec<(&str, TensorView<'_>)>, HeadFormatError> {
        self.0
            .iter()
            .map(|(name, dtype, shape, bytes)| {
                Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?))
            })
            .collect::<Result<Vec<_>, SafeTensorError>>()
            .map_err(|e| HeadFormatError::Encode(e.to_string()))
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
    pub(super) fn length(&self, name: &str) -> Result<usize, HeadFormatError> {
        match *self.tensor(name)?.shape() {
            [length] if length > 0 => Ok(length),
            ref found => Err(wrong_shape(name, found, "[length]".to_owned())),
        }
    }

    /// The dimensions of a two-dimensional tensor.
    pub(super) fn shape2(&self, name: &str) -> Result<(usize, usize), HeadFormatError> {
        match *self.tensor(name)?.shape() {
            [rows, columns] if rows > 0 && columns > 0 => Ok((rows, columns)),
            ref found => Err(wrong_shape(name, found, "[rows, columns]".to_owned())),
        }
    }

    /// A tensor's values, which must be finite.
    pub(super) fn read<T: Number>(&self, name: &str, shape: &[usize]) -> Result<Vec<T>, HeadFormatError> {
        let tensor = self.tensor(name)?;
        if tensor.dtype() != T::DTYPE {
            let (found, expected) = (tensor.dtype().to_string(), T::DTYPE.to_string());
            return Err(HeadFormatError::TensorType { name: name.to_owned(), found, expected });
        }
        if tensor.shape() != shape {
            return Err(wrong_shape(name, tensor.shape(), format!("{shape:?}")));
        }
        let values: Vec<T> = tensor.data().chunks_exact(size_of::<T>()).map(T::from_bytes).collect();
        match values.iter().position(|v| !v.finite()) {
            Some(index) => Err(HeadFormatError::NonFinite { name: name.to_owned(), index }),
            None => Ok(values),
        }
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'_>, HeadFormatError> {
        self.0.tensor(name).map_err(|_| HeadFormatError::NoTensor(name.to_owned()))
    }
}

fn wrong_shape(name: &str, found: &[usize], expected: String) -> HeadFormatError {
    HeadFormatError::TensorShape { name: name.to_owned(), found: found.to_vec(), expected }
}
