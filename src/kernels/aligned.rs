//! A buffer that begins at a multiple of 64 bytes: a cache line, and the widest register.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;

/// Bytes that every buffer is aligned to.
pub const ALIGNMENT: usize = 64;

/// A zeroed, 64-byte aligned buffer of `T`.
pub struct Aligned<T> {
    bytes: Vec<u8>,
    /// Where the first aligned byte is.
    offset: usize,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Pod> Aligned<T> {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Aligned<T> {
        let mut buffer = Aligned::default();
        buffer.grow(len).expect("memory for the weights");
        buffer
    }

    /// Makes room for at least `len` elements; contents are lost if the buffer moves.
    ///
    /// # Errors
    /// When the system does not give that much memory.
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
        // Nothing was allocated, and what a Vec has then for a pointer is aligned to a byte.
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
