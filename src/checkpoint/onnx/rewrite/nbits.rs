//! `com.microsoft.MatMulNBits`, weights of 4 or 8 bits in blocks: the product with the f32 weights that they stand for.
//!
//! The layout is that of onnxruntime's ContribOperators.md: `B` is `[N, blocks, bytes]` with the first weight in the low
//! bits, scales are `[N, blocks]`, zero points are packed like weights along the blocks of a row, or 2^(bits-1).

use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::nodes::{bytes, constants, floats, input, int, node, values};

/// Maximum size of all widened weights, in bytes: several products may share their codes.
const MAX_BYTES: usize = 16 << 30;

/// Replaces every such product; returns a line about it if there was any.
pub(super) fn expand(graph: &mut GraphProto) -> Option<String> {
    let (mut made, mut all) = (Vec::new(), Vec::with_capacity(graph.node.len()));
    let (mut bits, mut total) = (0, 0);
    {
        let known = constants(graph);
        for whole in &graph.node {
            let readable = (whole.op_type == "MatMulNBits" && total < MAX_BYTES)
                .then(|| weight(whole, &|place| known.get(input(whole, place)?).copied()))
                .flatten();
            // tract has others of them, of 2 bits.
            let Some((weight, dims)) = readable else {
                all.push(whole.clone());
                continue;
            };
            let (Some(x), Some(output)) = (input(whole, 0), whole.output.first()) else { continue };
            let name = format!("{output}/microraptor.weight");
            total += size_of_val(&weight[..]);
            made.push(floats(&name, &dims, weight));
            bits = int(whole, "bits").unwrap_or(4);
            match input(whole, 5) {
                None => all.push(node("MatMul", &[x, &name], output)),
                Some(bias) => {
                    let product = format!("{output}/microraptor.product");
                    all.push(node("MatMul", &[x, &name], &product));
                    all.push(node("Add", &[&product, bias], output));
                }
            }
        }
    }
    let count = made.len();
    graph.node = all;
    graph.initializer.extend(made);
    (count > 0).then(|| format!("{count} matrices of {bits}-bit weights are widened to f32"))
}

/// The weights `[K, N]`.
fn weight<'a>(
    whole: &NodeProto,
    tensor: &dyn Fn(usize) -> Option<&'a TensorProto>,
) -> Option<(Vec<f32>, [i64; 2])> {
    let size = |name: &str| usize::try_from(int(whole, name)?).ok().filter(|&size| size > 0);
    let (k, n, block) = (size("K")?, size("N")?, size("block_size")?);
    let bits = int(whole, "bits").unwrap_or(4);
    // Input 4 would reorder the rows.
    if ![4, 8].contains(&bits) || !block.is_power_of_two() || block < 16 || input(whole, 4).is_some() {
        return None;
    }
    let (bits, blocks) = (bits as usize, k.div_ceil(block));
    let per_byte = 8 / bits;
    let codes = bytes(tensor(1)?)?;
    let scales = values(tensor(2)?)?;
    let row = blocks.checked_mul(block)?.checked_div(per_byte)?;
    if codes.len() != n.checked_mul(row)? || scales.len() != n.checked_mul(blocks)? {
        return None;
    }
    let at = |packed: &[u8], place: usize| {
        let shift = place % per_byte * bits;
        f32::from(packed[place / per_byte] >> shift & (0xff >> (8 - bits)))
    };
    let zeros: Option<Vec<f32>> = match (input(whole, 3), tensor(3)) {
        (None, _) => Some(vec![(1 << (bits - 1)) as f32; n * blocks]),
        (Some(_), Some(stored)) => match bytes(stored) {
            Some(packed) => {
                let row = blocks.div_ceil(per_byte);
                let whole = packed.len() == n * row;
                whole.then(|| {
                    let rows = packed.chunks_exact(row);
                    rows.flat_map(|row| (0..blocks).map(|place| at(row, place)).collect::<Vec<_>>()).collect()
                })
            }
            None => values(stored).filter(|zeros| zeros.len() == n * blocks),
        },
        _ => None,
    };
    let zeros = zeros?;
    let mut weight = vec![0.0; k.checked_mul(n)?];
    for (j, codes) in codes.chunks_exact(row).enumerate() {
        for i in 0..k {
            let of = j * blocks + i / block;
            weight[i * n + j] = (at(codes, i) - zeros[of]) * scales[of];
        }
    }
    Some((weight, [k as i64, n as i64]))
}
