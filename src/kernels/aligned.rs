//! A buffer aligned to 64 bytes: a cache line, and the widest register.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;

/// Alignment of every buffer, in bytes.
pub const ALIGNMENT: usize = 64;

/// A zeroed, 64-byte aligned buffer of `T`.
pub struct Aligned<T> {
    bytes: Vec<u8>,
    /// Offset of the first aligned byte in `bytes`.
    offset: usize,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Pod> Aligned<T> {
    /// A buffer of `len` zeros.
    pub fn zeroed(len: usize) -> Aligned<T> {
        let mut buffer = Aligned::default();
        buffer.grow(len).expect("memory for the weights");
        buffer
    }

    /// Grows the buffer to at least `len` elements; its contents are lost if it is reallocated.
    ///
    /// # Errors
    /// If the memory cannot be allocated.
    pub fn grow(&mut self, len: usize) -> Result<(), std::collections::TryReserveError> {
        if len <= self.len {
            return Ok(());
        }
        let wanted = len * size_of::<T>() + ALIGNMENT;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(wanted)?;
        bytes.resize(wanted, 0);
        self.offset = bytes.as_ptr().addr().next_multiple_of(ALIGNMENT) - bytes.as_ptr().addr();
        (self.bytes, self.len) = (bytes, len);
        Ok(())
    }
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Aligned { bytes: Vec::new(), offset: 0, len: 0, of: PhantomData }
    }
}

impl<T: Pod> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // Without an allocation the pointer of the `Vec` is only aligned to one byte.
        if self.len == 0 {
            return &[];
        }
        bytemuck::cast_slice(&self.bytes[self.offset..self.offset + self.len * size_of::<T>()])
    }
}

impl<T: Pod> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        if self.len == 0 {
            return &mut [];
        }
        bytemuck::cast_slice_mut(&mut self.bytes[self.offset..self.offset + self.len * size_of::<T>()])
    }
}
