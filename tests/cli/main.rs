//! The program as its users meet it.

mod bad_input;
mod board;
mod commands;
mod common;
mod convert;
mod demo;
#[cfg(feature = "demo")]
mod demo_quality;
#[cfg(feature = "dicom")]
mod dicom;
#[cfg(feature = "nifti")]
mod embed;
mod heads;
mod profile;
