//! Pixels in: DICOM, NIfTI and clips as other programs write them, compared with what other programs read; and files that
//! are wrong.

#![cfg(all(feature = "dicom", feature = "nifti"))]

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
