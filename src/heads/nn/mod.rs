//! A network small enough to be trained at the point of care: layers on feature grids, forward, backward, AdamW.
//!
//! Dense heads are built from it. Training uses [`matmul`](crate::kernels::matmul), whose rounding depends on the CPU;
//! a trained network is [packed](ConvNet::pack) for [`PackedLinear`], whose bits do not.

pub mod adamw;
pub mod bilinear;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::features::Grid;
use crate::kernels::Isa;
use crate::kernels::linear::{OutputMode, PackedLinear, Rows, Scratch};
use crate::kernels::matmul::{Rhs, Shape, matmul};
use bilinear::Bilinear;

/// The operation of a layer on a map `[positions, channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A 1x1 convolution: each position separately.
    Pointwise,
    /// A convolution over 3x3 neighbours in `depth` slices (1 or 3), with zero padding.
    Conv {
        /// Number of slices in the kernel.
        depth: usize,
    },
    /// `max(x, 0)`.
    Relu,
    /// Bilinear upsampling of rows and columns by a factor of two.
    Upsample,
}

/// A layer and the widths of its input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSpec {
    /// Its operation.
    pub kind: Kind,
    /// Number of input channels.
    pub inputs: usize,
    /// Number of output channels.
    pub outputs: usize,
}

impl LayerSpec {
    /// Number of values that each output channel sums; 0 for a layer without weights.
    fn fan_in(&self) -> usize {
        match self.kind {
            Kind::Pointwise => self.inputs,
            Kind::Conv { depth } => 9 * depth * self.inputs,
            Kind::Relu | Kind::Upsample => 0,
        }
    }

    /// Number of weights and biases.
    fn parameters(&self) -> usize {
        match self.fan_in() {
            0 => 0,
            fan_in => self.outputs * (fan_in + 1),
        }
    }
}

/// A sequence of layers and all their parameters: for each layer its weights `[outputs, fan_in]`, then its biases.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvNet {
    /// The layers.
    pub layers: Vec<LayerSpec>,
    /// Their parameters.
    pub parameters: Vec<f32>,
}

/// The maps between the layers of one forward pass: the input first, the output last.
pub struct Pass {
    maps: Vec<(Grid, Vec<f32>)>,
}

impl Pass {
    /// The output's grid and values `[positions, channels]`.
    pub fn output(&self) -> (Grid, &[f32]) {
        let (grid, map) = self.maps.last().expect("the input at least");
        (*grid, map)
    }
}

impl ConvNet {
    /// Number of parameters of `layers`.
    pub fn count(layers: &[LayerSpec]) -> usize {
        layers.iter().map(LayerSpec::parameters).sum()
    }

    /// Weights are drawn uniformly within `sqrt(3 / fan_in)` from `seed` (variance 1 / fan_in; He et al., arXiv
    /// 1502.01852, without the factor for ReLU); biases are zero.
    pub fn new(layers: Vec<LayerSpec>, seed: u64) -> ConvNet {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = Vec::with_capacity(ConvNet::count(&layers));
        for layer in layers.iter().filter(|layer| layer.fan_in() > 0) {
            let bound = (3.0 / layer.fan_in() as f32).sqrt();
            let weights = layer.outputs * layer.fan_in();
            parameters.extend((0..weights).map(|_| rng.random_range(-bound..bound)));
            parameters.extend(std::iter::repeat_n(0.0, layer.outputs));
        }
        ConvNet { layers, parameters }
    }

    /// Each layer with its parameters.
    fn with_parameters(&self) -> impl DoubleEndedIterator<Item = (&LayerSpec, &[f32])> {
        let mut rest = self.parameters.as_slice();
        let parts: Vec<&[f32]> = self
            .layers
            .iter()
            .map(|layer| {
                let (own, after) = rest.split_at(layer.parameters());
                rest = after;
                own
            })
            .collect();
        self.layers.iter().zip(parts)
    }

    /// Runs `input`, `[positions, channels]`, and keeps what [`ConvNet::backward`] needs.
    pub fn forward(&self, grid: Grid, input: Vec<f32>) -> Pass {
        let mut maps = vec![(grid, input)];
        for (layer, parameters) in self.with_parameters() {
            let (grid, x) = maps.last().expect("the input at least");
            let next = match layer.kind {
                Kind::Relu => (*grid, relu(x)),
                Kind::Upsample => upsample(*grid, x, layer.inputs),
                Kind::Pointwise => (*grid, dense(layer, parameters, x)),
                Kind::Conv { depth } => {
                    let slice = |z| dense(layer, parameters, &neighbours(*grid, z, depth, x, layer.inputs));
                    (*grid, (0..grid.depth).flat_map(slice).collect())
                }
            };
            maps.push(next);
        }
        Pass { maps }
    }

    /// Gradient of the parameters, given that of the output.
    pub fn backward(&self, pass: &Pass, output_gradient: Vec<f32>) -> Vec<f32> {
        let mut all = vec![0.0; self.parameters.len()];
        let mut end = all.len();
        let mut gradient = output_gradient;
        for (i, (layer, parameters)) in
            self.with_parameters().enumerate().collect::<Vec<_>>().into_iter().rev()
        {
            let (grid, x) = &pass.maps[i];
            let start = end - layer.parameters();
            let own = &mut all[start..end];
            end = start;
            gradient = match layer.kind {
                Kind::Relu => x.iter().zip(gradient).map(|(x, g)| if *x > 0.0 { g } else { 0.0 }).collect(),
                Kind::Upsample => downsample_gradient(*grid, &gradient, layer.inputs),
                Kind::Pointwise => dense_backward(layer, parameters, x, &gradient, own, i > 0),
                Kind::Conv { depth } => {
                    let mut input = vec![0.0; x.len()];
                    let slices = gradient.chunks_exact(grid.height * grid.width * layer.outputs);
                    for (z, gradient) in slices.enumerate() {
                        let columns = neighbours(*grid, z, depth, x, layer.inputs);
                        let columns = dense_backward(layer, parameters, &columns, gradient, own, i > 0);
                        if i > 0 {
                            scatter(*grid, z, depth, &columns, &mut input, layer.inputs);
                        }
                    }
                    input
                }
            };
        }
        all
    }

    /// The network packed for `isa`: the same sums, in an order that is the same on every instruction set.
    pub fn pack(&self, isa: Isa) -> Packed {
        let layers = self
            .with_parameters()
            .map(|(layer, parameters)| {
                let weights = layer.outputs * layer.fan_in();
                let linear = (layer.fan_in() > 0)
                    .then(|| PackedLinear::f32(isa, &parameters[..weights], &parameters[weights..]));
                (*layer, linear)
            })
            .collect();
        Packed { layers }
    }
}

/// A trained network, ready to run.
pub struct Packed {
    layers: Vec<(LayerSpec, Option<PackedLinear>)>,
}

/// Memory of a network's runs: of one size after the first they allocate nothing.
#[derive(Default)]
pub struct Working {
    /// The input of a layer, and after a run the output of the last.
    pub values: Vec<f32>,
    /// The output of a layer.
    next: Vec<f32>,
    /// The neighbours of each position of a slice.
    columns: Vec<f32>,
    scratch: Scratch,
    line: Vec<f32>,
    resizes: Vec<Bilinear>,
}

/// Most resizes that are kept.
const RESIZES: usize = 16;

impl Working {
    /// The resize between these sizes, and working memory for it.
    pub fn resize(&mut self, from: (usize, usize), to: (usize, usize)) -> (&Bilinear, &mut Vec<f32>, &[f32]) {
        let Working { values, line, resizes, .. } = self;
        let place = resizes.iter().position(|resize| resize.sizes() == [from, to]).unwrap_or_else(|| {
            if resizes.len() == RESIZES {
                resizes.clear();
            }
            resizes.push(Bilinear::new(from, to));
            resizes.len() - 1
        });
        (&resizes[place], line, values)
    }
}

impl Packed {
    /// Runs `working.values`, `[positions, channels]`, which becomes the output; returns its grid.
    pub fn run(&self, mut grid: Grid, working: &mut Working) -> Grid {
        for (layer, linear) in &self.layers {
            let linear = || linear.as_ref().expect("a layer with weights");
            match layer.kind {
                Kind::Relu => working.values.iter_mut().for_each(|x| *x = x.max(0.0)),
                Kind::Upsample => grid = upsample_in(grid, working, layer.inputs),
                Kind::Pointwise => {
                    let Working { values, next, scratch, .. } = working;
                    next.resize(values.len() / linear().inputs() * layer.outputs, 0.0);
                    linear().apply(Rows::Float(values), scratch, next, OutputMode::Store);
                    std::mem::swap(values, next);
                }
                Kind::Conv { depth } => {
                    let Working { values, next, columns, scratch, .. } = working;
                    let slice = grid.height * grid.width * layer.outputs;
                    next.resize(grid.depth * slice, 0.0);
                    for (z, next) in next.chunks_exact_mut(slice).enumerate() {
                        neighbours_in(grid, z, depth, values, layer.inputs, columns);
                        linear().apply(Rows::Float(columns), scratch, next, OutputMode::Store);
                    }
                    std::mem::swap(values, next);
                }
            }
        }
        grid
    }
}

/// [`upsample`] of `working.values`.
fn upsample_in(grid: Grid, working: &mut Working, channels: usize) -> Grid {
    let to = Grid { height: 2 * grid.height, width: 2 * grid.width, ..grid };
    let mut next = std::mem::take(&mut working.next);
    next.clear();
    let (resize, line, values) = working.resize((grid.height, grid.width), (to.height, to.width));
    for slice in values.chunks_exact(grid.height * grid.width * channels) {
        resize.rows_of(slice, channels, 0..to.height, line, &mut next);
    }
    working.next = std::mem::replace(&mut working.values, next);
    to
}

fn relu(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| x.max(0.0)).collect()
}

/// `x W^T + b`
fn dense(layer: &LayerSpec, parameters: &[f32], x: &[f32]) -> Vec<f32> {
    let fan_in = layer.fan_in();
    let positions = x.len() / fan_in;
    let (weights, bias) = parameters.split_at(layer.outputs * fan_in);
    let mut out: Vec<f32> = bias.iter().copied().cycle().take(positions * layer.outputs).collect();
    let (lhs, rhs) = (Shape::dense(positions, fan_in), Shape::dense(layer.outputs, fan_in));
    let shape = Shape::dense(positions, layer.outputs);
    matmul(x, lhs, weights, rhs, Rhs::Transposed, &mut out, shape, true, 1.0);
    out
}

/// Adds the gradients of a dense layer's parameters to `own`; returns the gradient of its input, or nothing unless
/// `wanted`.
fn dense_backward(
    layer: &LayerSpec,
    parameters: &[f32],
    x: &[f32],
    gradient: &[f32],
    own: &mut [f32],
    wanted: bool,
) -> Vec<f32> {
    let (outputs, fan_in) = (layer.outputs, layer.fan_in());
    let positions = x.len() / fan_in;
    let (weights, bias) = own.split_at_mut(outputs * fan_in);
    let mut transposed = vec![0.0; gradient.len()];
    for (p, row) in gradient.chunks_exact(outputs).enumerate() {
        for (o, g) in row.iter().enumerate() {
            transposed[o * positions + p] = *g;
            bias[o] += g;
        }
    }
    let (lhs, rhs) = (Shape::dense(outputs, positions), Shape::dense(positions, fan_in));
    matmul(&transposed, lhs, x, rhs, Rhs::Plain, weights, Shape::dense(outputs, fan_in), true, 1.0);
    let mut input = Vec::new();
    if wanted {
        input.resize(x.len(), 0.0);
        let (lhs, rhs) = (Shape::dense(positions, outputs), Shape::dense(outputs, fan_in));
        let weights = &parameters[..outputs * fan_in];
        matmul(
            gradient,
            lhs,
            weights,
            rhs,
            Rhs::Plain,
            &mut input,
            Shape::dense(positions, fan_in),
            false,
            1.0,
        );
    }
    input
}

/// For every position of slice `z`, calls `f(position in the slice, neighbour, index of the neighbour in the kernel)`
/// for each neighbour inside the grid.
fn for_neighbours(grid: Grid, z: usize, depth: usize, mut f: impl FnMut(usize, usize, usize)) {
    let Grid { depth: slices, height, width } = grid;
    for dz in 0..depth {
        let Some(nz) = (z + dz).checked_sub(depth / 2).filter(|&nz| nz < slices) else { continue };
        for (y, dy) in (0..height).flat_map(|y| (0..3).map(move |dy| (y, dy))) {
            let Some(ny) = (y + dy).checked_sub(1).filter(|&ny| ny < height) else { continue };
            for (x, dx) in (0..width).flat_map(|x| (0..3).map(move |dx| (x, dx))) {
                if let Some(nx) = (x + dx).checked_sub(1).filter(|&nx| nx < width) {
                    f(y * width + x, (nz * height + ny) * width + nx, (dz * 3 + dy) * 3 + dx);
                }
            }
        }
    }
}

/// The neighbours of every position of slice `z` side by side, `[height * width, 9 * depth * channels]`. One slice at a
/// time, since those of a whole volume would be up to 27 times its features.
fn neighbours(grid: Grid, z: usize, depth: usize, x: &[f32], channels: usize) -> Vec<f32> {
    let mut out = Vec::new();
    neighbours_in(grid, z, depth, x, channels, &mut out);
    out
}

/// As [`neighbours`], into `out`.
fn neighbours_in(grid: Grid, z: usize, depth: usize, x: &[f32], channels: usize, out: &mut Vec<f32>) {
    let stride = 9 * depth * channels;
    out.clear();
    out.resize(grid.height * grid.width * stride, 0.0);
    for_neighbours(grid, z, depth, |position, neighbour, number| {
        out[position * stride + number * channels..][..channels]
            .copy_from_slice(&x[neighbour * channels..][..channels]);
    });
}

/// The adjoint of [`neighbours`], added to `out`.
fn scatter(grid: Grid, z: usize, depth: usize, columns: &[f32], out: &mut [f32], channels: usize) {
    let stride = 9 * depth * channels;
    for_neighbours(grid, z, depth, |position, neighbour, number| {
        let from = &columns[position * stride + number * channels..][..channels];
        let to = &mut out[neighbour * channels..][..channels];
        to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
    });
}

fn upsample(grid: Grid, x: &[f32], channels: usize) -> (Grid, Vec<f32>) {
    let to = Grid { height: 2 * grid.height, width: 2 * grid.width, ..grid };
    let resize = Bilinear::new((grid.height, grid.width), (to.height, to.width));
    let slices = x.chunks_exact(grid.height * grid.width * channels);
    (to, slices.flat_map(|slice| resize.apply(slice, channels)).collect())
}

fn downsample_gradient(grid: Grid, gradient: &[f32], channels: usize) -> Vec<f32> {
    let resize = Bilinear::new((grid.height, grid.width), (2 * grid.height, 2 * grid.width));
    let slices = gradient.chunks_exact(4 * grid.height * grid.width * channels);
    slices.flat_map(|slice| resize.adjoint(slice, channels)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers() -> Vec<LayerSpec> {
        let layer = |kind, inputs, outputs| LayerSpec { kind, inputs, outputs };
        vec![
            layer(Kind::Pointwise, 5, 4),
            layer(Kind::Relu, 4, 4),
            layer(Kind::Conv { depth: 3 }, 4, 3),
            layer(Kind::Upsample, 3, 3),
            layer(Kind::Conv { depth: 1 }, 3, 2),
        ]
    }

    const GRID: Grid = Grid { depth: 3, height: 2, width: 4 };

    fn input() -> Vec<f32> {
        (0..GRID.positions() * 5).map(|i| (i as f32 * 0.37).sin()).collect()
    }

    #[test]
    fn the_gradient_is_the_derivative() {
        let mut network = ConvNet::new(layers(), 1);
        let pass = network.forward(GRID, input());
        let (grid, output) = pass.output();
        assert_eq!((grid.depth, grid.height, grid.width), (3, 4, 8));
        // The loss is a fixed weighted sum of the outputs.
        let weights: Vec<f32> = (0..output.len()).map(|i| (i as f32 * 1.7).cos()).collect();
        let gradient = network.backward(&pass, weights.clone());
        assert_eq!(gradient.len(), network.parameters.len());
        let mut loss = |i: usize, delta: f32| -> f64 {
            let before = network.parameters[i];
            network.parameters[i] = before + delta;
            let pass = network.forward(GRID, input());
            network.parameters[i] = before;
            pass.output().1.iter().zip(&weights).map(|(o, w)| f64::from(*o) * f64::from(*w)).sum()
        };
        for (i, &gradient) in gradient.iter().enumerate() {
            // Everything but ReLU is linear in a single parameter, and h is small enough to avoid the kink of ReLU. f32
            // sums of 192 terms round to about 1e-5, divided by 2 h.
            let h = 1e-3;
            let numeric = (loss(i, h) - loss(i, -h)) / (2.0 * f64::from(h));
            assert!((numeric - f64::from(gradient)).abs() < 1e-2, "{i}: {numeric} {gradient}");
        }
    }

    #[test]
    fn packed_it_says_the_same_with_the_same_bits_everywhere() {
        let network = ConvNet::new(layers(), 2);
        let pass = network.forward(GRID, input());
        // In used memory, too.
        let mut working = Working::default();
        let mut run = |isa| {
            working.values.clear();
            working.values.extend(input());
            (network.pack(isa).run(GRID, &mut working), working.values.clone())
        };
        let (grid, scalar) = run(Isa::SCALAR);
        assert_eq!(grid, pass.output().0);
        for (a, b) in scalar.iter().zip(pass.output().1) {
            assert!((a - b).abs() < 1e-5);
        }
        for isa in Isa::available() {
            assert!(run(isa).1 == scalar, "{isa}");
        }
    }
}
