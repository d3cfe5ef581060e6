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
mod heads;
mod hints;
mod profile;
