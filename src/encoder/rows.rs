//! Rows of tokens: the buffers that hold them, and how threads share them.

use std::collections::TryReserveError;

use crate::kernels::aligned::Aligned;
use crate::kernels::attention::Dims;
use crate::kernels::pool::{RowsMut, Split};
use crate::kernels::quantise::{
    QuantParams, QuantisedKeys, QuantisedKeysMut, QuantisedRows, QuantisedRowsMut,
};

/// Rows of some tokens, a unit's or all. Those that the network does not use are empty.
pub(super) struct TokenRows<'a> {
    /// The residual stream, `[tokens, dim]`.
    pub stream: &'a mut [f32],
    /// The tap that is written, `[tokens, dim]`; empty if none is.
    pub tapped: &'a mut [f32],
    /// The copy of the stream that is written, `[tokens, dim]`; empty if none is.
    pub copied: &'a mut [f32],
    pub qkv: QkvRows<'a>,
}

impl<'a> TokenRows<'a> {
    /// The same rows, to be split between tokens.
    pub fn split(self, dims: Dims) -> impl Split<Part = TokenRows<'a>> {
        let kept = (row(self.tapped, dims), row(self.copied, dims));
        (row(self.stream, dims), kept, self.qkv.split(dims))
            .map(|(stream, (tapped, copied), qkv)| TokenRows { stream, tapped, copied, qkv })
    }
}

/// Queries, keys and values of some tokens. Blocks with int8 attention use the codes, others the float queries and keys.
pub(super) struct QkvRows<'a> {
    /// Codes `[tokens, dim]`, parameters `[tokens, heads]`.
    pub query_codes: QuantisedRowsMut<'a>,
    pub key_codes: QuantisedKeysMut<'a>,
    /// `[tokens, dim]`, and so are the next two.
    pub queries: &'a mut [f32],
    pub keys: &'a mut [f32],
    pub values: &'a mut [f32],
}

impl<'a> QkvRows<'a> {
    /// The same rows, to be split between tokens.
    fn split(self, dims: Dims) -> impl Split<Part = QkvRows<'a>> {
        let codes =
            (self.query_codes.split(dims.dim(), dims.heads), self.key_codes.split(dims.dim(), dims.heads));
        let floats = (row(self.queries, dims), row(self.keys, dims), row(self.values, dims));
        (codes, floats).map(|((query_codes, key_codes), (queries, keys, values))| QkvRows {
            query_codes,
            key_codes,
            queries,
            keys,
            values,
        })
    }
}

/// `[tokens, dim]` or empty, to be split between tokens.
fn row(data: &mut [f32], dims: Dims) -> RowsMut<'_, f32> {
    RowsMut::or_absent(data, dims.dim())
}

/// Memory for [`QkvRows`] of every token.
#[derive(Default)]
pub(super) struct Qkv {
    query_codes: QuantisedBuffer,
    key_codes: Aligned<i8>,
    key_scales: Aligned<f32>,
    queries: Aligned<f32>,
    keys: Aligned<f32>,
    values: Aligned<f32>,
}

impl Qkv {
    /// Grows what every block uses.
    pub fn grow_values(&mut self, dims: Dims) -> Result<(), TryReserveError> {
        self.values.grow(dims.tokens * dims.dim())
    }

    /// Grows what blocks with int8 attention use.
    pub fn grow_codes(&mut self, dims: Dims) -> Result<(), TryReserveError> {
        let (values, heads) = (dims.tokens * dims.dim(), dims.tokens * dims.heads);
        self.query_codes.grow(values, heads)?;
        self.key_codes.grow(values)?;
        self.key_scales.grow(heads)
    }

    /// Grows what blocks with float attention use.
    pub fn grow_floats(&mut self, dims: Dims) -> Result<(), TryReserveError> {
        let values = dims.tokens * dims.dim();
        self.queries.grow(values)?;
        self.keys.grow(values)
    }

    /// The rows of every token.
    pub fn rows_mut(&mut self) -> QkvRows<'_> {
        QkvRows {
            query_codes: self.query_codes.rows_mut(),
            key_codes: QuantisedKeysMut { codes: &mut self.key_codes, scales: &mut self.key_scales },
            queries: &mut self.queries,
            keys: &mut self.keys,
            values: &mut self.values,
        }
    }

    /// The quantised keys of every token.
    pub fn key_codes(&self) -> QuantisedKeys<'_> {
        QuantisedKeys { codes: &self.key_codes, scales: &self.key_scales }
    }

    /// The keys of every token, `[tokens, dim]`.
    pub fn keys(&self) -> &[f32] {
        &self.keys
    }

    /// The values of every token, `[tokens, dim]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

/// Memory for quantised rows.
#[derive(Default)]
pub(super) struct QuantisedBuffer {
    codes: Aligned<u8>,
    quants: Vec<QuantParams>,
}

impl QuantisedBuffer {
    /// Grows it to at least `codes` codes and `quants` sets of parameters.
    pub fn grow(&mut self, codes: usize, quants: usize) -> Result<(), TryReserveError> {
        self.codes.grow(codes)?;
        self.quants.try_reserve_exact(quants.saturating_sub(self.quants.len()))?;
        self.quants.resize(quants.max(self.quants.len()), QuantParams::default());
        Ok(())
    }

    /// The rows, to be read.
    pub fn rows(&self) -> QuantisedRows<'_> {
        QuantisedRows { codes: &self.codes, quants: &self.quants }
    }

    /// The rows, to be written.
    pub fn rows_mut(&mut self) -> QuantisedRowsMut<'_> {
        QuantisedRowsMut { codes: &mut self.codes, quants: &mut self.quants }
    }
}
