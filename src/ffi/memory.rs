//! Reading and writing what C points to.

use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};

use super::status::Failure;

/// A structure that C passes. Its first field is its size, so that later versions may add fields at its end: what a
/// caller's version lacks is zero, and zero means what it meant before the field was there.
///
/// # Safety
/// The structure is `repr(C)`, of integers, floats and pointers alone: all bytes are valid, zero too. Its first field is a
/// `usize`.
pub(super) unsafe trait Versioned: Copy {
    /// Its name in C.
    const NAME: &str;

    /// Every field zero.
    fn zero() -> Self {
        // SAFETY: all bytes are valid (above).
        unsafe { std::mem::zeroed() }
    }
}

/// The largest size that a structure says it has; a later version is not larger.
const MAX_SIZE: usize = 1 << 12;

/// The size that the structure at `at` says it has.
///
/// # Safety
/// `at` is NULL or points to a structure whose first field is its size.
pub(super) unsafe fn size<T: Versioned>(at: *const T) -> Result<usize, Failure> {
    if at.is_null() {
        return Err(Failure::argument(format!("the {} is NULL", T::NAME)));
    }
    // SAFETY: the first field is a `usize` (Versioned); nothing is said of alignment.
    let size = unsafe { at.cast::<usize>().read_unaligned() };
    if !(size_of::<usize>()..=MAX_SIZE).contains(&size) {
        let text = format!("the size of the {} is {size}: set it to sizeof({0})", T::NAME);
        return Err(Failure::argument(text));
    }
    Ok(size)
}

/// The structure at `at`.
///
/// # Safety
/// `at` is NULL or points to as many bytes as the structure says.
pub(super) unsafe fn read<T: Versioned>(at: *const T) -> Result<T, Failure> {
    // SAFETY: as the caller promises.
    let size = unsafe { size(at)? };
    let mut value = T::zero();
    let known = size.min(size_of::<T>());
    // SAFETY: both have `known` bytes, and all bytes are valid for `T`.
    unsafe { std::ptr::copy_nonoverlapping(at.cast::<u8>(), (&raw mut value).cast(), known) };
    // SAFETY: the caller's structure has `size` bytes.
    let rest = unsafe { std::slice::from_raw_parts(at.cast::<u8>().add(known), size - known) };
    if rest.iter().any(|&byte| byte != 0) {
        let text = format!("the {} asks for what a later version of the library can do", T::NAME);
        return Err(Failure::argument(text));
    }
    Ok(value)
}

/// As [`read`]; NULL stands for zeros.
///
/// # Safety
/// As [`read`].
pub(super) unsafe fn read_or_zero<T: Versioned>(at: *const T) -> Result<T, Failure> {
    // SAFETY: as the caller promises.
    if at.is_null() { Ok(T::zero()) } else { unsafe { read(at) } }
}

/// Writes `value` to `at`, as much as the caller's version has, but for its size. What a later version has behind it
/// becomes zero.
///
/// # Safety
/// `at` is NULL or points to as many bytes as the structure there says.
pub(super) unsafe fn write<T: Versioned>(at: *mut T, value: &T) -> Result<(), Failure> {
    // SAFETY: as the caller promises.
    let size = unsafe { size(at)? };
    let first = size_of::<usize>();
    let count = size.min(size_of::<T>()) - first;
    // SAFETY: both have so many bytes behind their sizes.
    unsafe {
        std::ptr::copy_nonoverlapping(
            (&raw const *value).cast::<u8>().add(first),
            at.cast::<u8>().add(first),
            count,
        )
    };
    let known = size.min(size_of::<T>());
    // SAFETY: the caller's structure has `size` bytes.
    unsafe { at.cast::<u8>().add(known).write_bytes(0, size - known) };
    Ok(())
}

/// Writes `value` to `at`.
///
/// # Safety
/// `at` is NULL or points to a `T`.
pub(super) unsafe fn put<T>(at: *mut T, value: T, name: &str) -> Result<(), Failure> {
    if at.is_null() {
        return Err(Failure::argument(format!("{name} is NULL")));
    }
    // SAFETY: as the caller promises.
    unsafe { at.write_unaligned(value) };
    Ok(())
}

/// Checks that a result can be written, before there is one.
pub(super) fn writable<T>(at: *mut T, name: &str) -> Result<(), Failure> {
    if at.is_null() { Err(Failure::argument(format!("{name} is NULL"))) } else { Ok(()) }
}

/// `count` values at `at`; none if there are none.
///
/// # Safety
/// `at` is NULL or points to `count` values, which nobody changes for as long as the result is used.
pub(super) unsafe fn values<'a, T>(at: *const T, count: usize, name: &str) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    check(at, count, name)?;
    // SAFETY: not NULL, aligned, and not longer than memory; the rest is as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(at, count) })
}

/// As [`values`], to be written.
///
/// # Safety
/// `at` is NULL or points to `count` values, which nobody else uses for as long as the result is used.
pub(super) unsafe fn values_mut<'a, T>(at: *mut T, count: usize, name: &str) -> Result<&'a mut [T], Failure> {
    if count == 0 {
        return Ok(&mut []);
    }
    check(at, count, name)?;
    // SAFETY: not NULL, aligned, and not longer than memory; the rest is as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts_mut(at, count) })
}

fn check<T>(at: *const T, count: usize, name: &str) -> Result<(), Failure> {
    if at.is_null() {
        return Err(Failure::argument(format!("{name} is NULL")));
    }
    if !at.is_aligned() {
        return Err(Failure::argument(format!("{name} is not aligned to {} bytes", align_of::<T>())));
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::argument(format!("{name}: {count} values are more than memory holds")));
    }
    Ok(())
}

/// Number of bytes that `height` rows of `width` bytes take, `stride` apart.
pub(super) fn rows(height: usize, width: usize, stride: usize) -> Result<usize, Failure> {
    if stride < width {
        return Err(Failure::argument(format!("a row has {width} bytes, and the stride is {stride}")));
    }
    let rows = crate::input::Plane::bytes(height, width, stride);
    rows.ok_or_else(|| Failure::argument(format!("a stride of {stride} bytes is more than memory holds")))
}

/// The text at `at`.
///
/// # Safety
/// `at` is NULL or points to a text that ends with a zero byte, which nobody changes for as long as the result is used.
pub(super) unsafe fn text<'a>(at: *const c_char, name: &str) -> Result<&'a str, Failure> {
    if at.is_null() {
        return Err(Failure::argument(format!("{name} is NULL")));
    }
    // SAFETY: not NULL; the rest is as the caller promises.
    let text = unsafe { CStr::from_ptr(at) };
    text.to_str().map_err(|_| Failure::argument(format!("{name} is no UTF-8")))
}

/// The path at `at`: on Unix any bytes, elsewhere UTF-8.
///
/// # Safety
/// As [`text`].
pub(super) unsafe fn path_at(at: *const c_char) -> Result<PathBuf, Failure> {
    #[cfg(unix)]
    if !at.is_null() {
        use std::os::unix::ffi::OsStrExt;
        // SAFETY: not NULL; the rest is as the caller promises.
        let bytes = unsafe { CStr::from_ptr(at) }.to_bytes();
        return Ok(Path::new(std::ffi::OsStr::from_bytes(bytes)).to_owned());
    }
    // SAFETY: as the caller promises.
    unsafe { text(at, "the path") }.map(|text| Path::new(text).to_owned())
}
