//! Reading pixels: DICOM, NIfTI and clips written by other programs, compared with what other programs read; and
//! invalid files.

#![cfg(all(feature = "dicom", feature = "nifti"))]

mod charsets;
mod common;
mod damaged;
mod dicom;
mod dicom_kinds;
mod nifti;
mod nifti_kinds;
mod pictures;
mod series;
#[path = "../support/mod.rs"]
mod support;
mod y4m;
