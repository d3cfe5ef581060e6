//! What a graph takes.

use tract_onnx::pb::{GraphProto, ValueInfoProto, tensor_proto, tensor_shape_proto, type_proto};

use super::graphs::one_line;
use crate::vit::Size;

/// Maximum number of images at once of a file that fixes their number.
const MAX_BATCH: usize = 64;

/// The input of an image model: one f32 tensor `[batch, channels, height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageInput {
    /// Number of images at once: 1 unless the file fixes another number.
    pub(crate) batch: usize,
    /// 3, or 1 for grey.
    pub(crate) channels: usize,
    /// `None` if dynamic.
    pub(crate) height: Option<usize>,
    /// `None` if dynamic.
    pub(crate) width: Option<usize>,
}

impl ImageInput {
    /// The input size of a model that takes only one.
    pub(crate) fn fixed_size(self) -> Option<Size> {
        Some(Size { height: self.height?, width: self.width? })
    }
}

/// The only input.
fn sole_input(graph: &GraphProto) -> Result<&ValueInfoProto, String> {
    let [input] = &graph.input[..] else { return Err(format!("it has {} inputs", graph.input.len())) };
    Ok(input)
}

/// The shape of the only input, which must be of 32-bit floats; the error describes what was found instead.
pub(super) fn declared_input(graph: &GraphProto) -> Result<Vec<Option<usize>>, String> {
    use tensor_shape_proto::dimension::Value::{DimParam, DimValue};
    let input = sole_input(graph)?;
    let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Err(format!("input '{}' is not a tensor", one_line(&input.name)));
    };
    if tensor.elem_type != tensor_proto::DataType::Float as i32 {
        return Err(format!("input '{}' is not of 32-bit floats", one_line(&input.name)));
    }
    Ok(tensor
        .shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(|dim| match &dim.value {
            Some(DimValue(value)) => usize::try_from(*value).ok().filter(|&value| value > 0),
            Some(DimParam(_)) | None => None,
        })
        .collect())
}

/// Interprets the declared shape as that of an image; the error describes what was found instead.
pub(super) fn image_input(graph: &GraphProto, dims: &[Option<usize>]) -> Result<ImageInput, String> {
    match *dims {
        [batch @ (None | Some(1..=MAX_BATCH)), Some(channels @ (1 | 3)), height, width] => {
            Ok(ImageInput { batch: batch.unwrap_or(1), channels, height, width })
        }
        // Some exporters make every dimension dynamic.
        [batch @ (None | Some(1..=MAX_BATCH)), None, height, width] => {
            Ok(ImageInput { batch: batch.unwrap_or(1), channels: 3, height, width })
        }
        _ => {
            let shape: Vec<String> =
                dims.iter().map(|dim| dim.map_or("?".into(), |value| value.to_string())).collect();
            let name = sole_input(graph).map_or(String::new(), |input| one_line(&input.name));
            Err(format!("input '{name}' has the shape [{}]", shape.join(", ")))
        }
    }
}

/// Kernel side of the first convolution (float, or onnxruntime's dynamic int8) if it cuts the image into whole squares:
/// the patch side of a vision transformer.
pub(super) fn first_kernel(graph: &GraphProto) -> Option<usize> {
    const LARGEST: i64 = 256;
    let conv = graph.node.iter().find(|node| ["Conv", "ConvInteger"].contains(&node.op_type.as_str()))?;
    let attribute = |name: &str| conv.attribute.iter().find(|attribute| attribute.name == name);
    let ints = |name: &str| Some(&attribute(name)?.ints[..]);
    let kernel = ints("kernel_shape")?;
    let &[side, other] = kernel else { return None };
    // A convolution that reads past the border or skips pixels does not cut the image into such patches.
    let padded = attribute("auto_pad").is_some_and(|pad| !matches!(&pad.s[..], b"NOTSET" | b"VALID"))
        || ints("pads").is_some_and(|pads| pads.iter().any(|pad| *pad != 0))
        || ints("dilations").is_some_and(|dilations| dilations.iter().any(|dilation| *dilation != 1));
    let patches = side == other && (1..=LARGEST).contains(&side) && ints("strides")? == kernel && !padded;
    patches.then_some(side as usize)
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value};
    use tract_onnx::pb::{NodeProto, TensorShapeProto, TypeProto};

    use super::*;

    fn input(name: &str, dims: &[i64], elem_type: i32) -> ValueInfoProto {
        let value = |&dim: &i64| if dim > 0 { Value::DimValue(dim) } else { Value::DimParam("free".into()) };
        let dim =
            dims.iter().map(|dim| Dimension { value: Some(value(dim)), ..Dimension::default() }).collect();
        let tensor = type_proto::Tensor { elem_type, shape: Some(TensorShapeProto { dim }) };
        let value = Some(type_proto::Value::TensorType(tensor));
        ValueInfoProto {
            name: name.into(),
            r#type: Some(TypeProto { value, ..TypeProto::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn tells_images_from_other_inputs() {
        const FLOAT: i32 = tensor_proto::DataType::Float as i32;
        const BYTE: i32 = tensor_proto::DataType::Uint8 as i32;
        let image = |graph: &GraphProto| image_input(graph, &declared_input(graph)?);
        let read = |input: Vec<ValueInfoProto>| image(&GraphProto { input, ..GraphProto::default() });
        let fixed = ImageInput { batch: 1, channels: 3, height: Some(224), width: Some(352) };
        assert_eq!(read(vec![input("x", &[1, 3, 224, 352], FLOAT)]), Ok(fixed));
        assert_eq!(fixed.fixed_size(), Some(Size { height: 224, width: 352 }));
        let free = ImageInput { batch: 1, channels: 1, height: None, width: Some(32) };
        assert_eq!(read(vec![input("x", &[0, 1, 0, 32], FLOAT)]), Ok(free));
        assert_eq!(free.fixed_size(), None);
        for (dims, elem_type, expected) in [
            (&[800, 3, 224, 224][..], FLOAT, "input 'x' has the shape [800, 3, 224, 224]"),
            (&[1, 224, 224, 3], FLOAT, "input 'x' has the shape [1, 224, 224, 3]"),
            (&[1, 4, 0, 0], FLOAT, "input 'x' has the shape [1, 4, ?, ?]"),
            (&[1, 512], FLOAT, "input 'x' has the shape [1, 512]"),
            (&[1, 3, 224, 224], BYTE, "input 'x' is not of 32-bit floats"),
        ] {
            assert_eq!(read(vec![input("x", dims, elem_type)]), Err(expected.to_owned()));
        }
        let two = vec![input("x", &[1, 3, 8, 8], FLOAT), input("mask", &[1, 3, 8, 8], FLOAT)];
        assert_eq!(read(two), Err("it has 2 inputs".to_owned()));
        let pair = ImageInput { batch: 2, ..fixed };
        assert_eq!(read(vec![input("x", &[2, 3, 224, 352], FLOAT)]), Ok(pair));
    }

    #[test]
    fn patches_are_those_of_a_convolution_that_cuts_squares() {
        use tract_onnx::pb::AttributeProto;
        let ints = |name: &str, ints: &[i64]| AttributeProto {
            name: name.into(),
            ints: ints.to_vec(),
            ..AttributeProto::default()
        };
        let text = |name: &str, s: &[u8]| AttributeProto {
            name: name.into(),
            s: s.to_vec(),
            ..AttributeProto::default()
        };
        let patch = |op: &str, kernel: &[i64], strides: &[i64], more: &[AttributeProto]| {
            let mut attribute = vec![ints("kernel_shape", kernel), ints("strides", strides)];
            attribute.extend_from_slice(more);
            let conv = NodeProto { op_type: op.into(), attribute, ..NodeProto::default() };
            let relu = NodeProto { op_type: "Relu".into(), ..NodeProto::default() };
            first_kernel(&GraphProto { node: vec![relu, conv], ..GraphProto::default() })
        };
        let square: &[i64] = &[16, 16];
        assert_eq!(patch("Conv", square, square, &[]), Some(16));
        assert_eq!(patch("ConvInteger", square, square, &[ints("pads", &[0; 4])]), Some(16));
        assert_eq!(patch("Conv", square, square, &[text("auto_pad", b"VALID")]), Some(16));
        assert_eq!(patch("Conv", &[16, 8], &[16, 8], &[]), None);
        assert_eq!(patch("Conv", square, &[8, 8], &[]), None);
        assert_eq!(patch("Conv", &[16], &[16], &[]), None);
        assert_eq!(patch("Conv", square, square, &[ints("pads", &[1; 4])]), None);
        assert_eq!(patch("Conv", square, square, &[text("auto_pad", b"SAME_UPPER")]), None);
        assert_eq!(patch("Conv", square, square, &[ints("dilations", &[2, 2])]), None);
        assert_eq!(patch("MatMul", square, square, &[]), None);
    }
}
