//! The program from its users' point of view.

mod attest;
#[cfg(target_os = "linux")]
mod audit;
mod bad_input;
mod board;
#[cfg(all(feature = "v4l2", target_os = "linux"))]
mod camera;
mod card;
mod certainty;
#[cfg(unix)]
mod changing;
mod commands;
mod common;
mod contours;
mod convert;
mod demo;
#[cfg(feature = "demo")]
mod demo_quality;
#[cfg(feature = "dicom")]
mod dicom;
#[cfg(feature = "nifti")]
mod embed;
mod explain;
#[cfg(all(feature = "dicom", target_os = "linux"))]
mod fence;
#[cfg(all(feature = "dicom", feature = "onnx"))]
mod frames;
mod heads;
mod hints;
mod identity;
#[cfg(unix)]
mod interrupted;
mod limits;
#[cfg(feature = "onnx")]
mod outputs;
mod own_files;
mod profile;
#[cfg(feature = "nifti")]
mod reading;
#[cfg(feature = "sign")]
mod signed;
#[cfg(target_os = "linux")]
mod stream;
#[cfg(target_os = "linux")]
mod stream_out;
#[cfg(target_os = "linux")]
mod stream_served;
#[path = "../support/mod.rs"]
mod support;
