//! The stored form of a graph around a backbone.

/// The graph around a backbone, as a converted model stores it: ONNX models, of which only a build with the feature `onnx`
/// makes anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphParts {
    /// How the parts belong together, as JSON.
    pub about: String,
    /// Name and protobuf message of each part.
    pub parts: Vec<(String, Vec<u8>)>,
}
