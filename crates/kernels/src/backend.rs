//! The contract of `clinpeft-tensor`, operation by operation.

use crate::context::DeviceContext;
use crate::device::DeviceBackend;
use crate::limits::Limits;
use crate::{ops, packed_half};
use clinpeft_tensor::ops::{AdamW, AttentionShape, Clip, CuSeqlens, Direction, Layout, Learned};
use clinpeft_tensor::rng::Key;
use clinpeft_tensor::{Backend, DType, Result, Tensor};
use cubecl::Runtime;
use std::path::Path;
use std::sync::atomic::Ordering;

type Pair = (Tensor, Tensor);
type Triple = (Tensor, Tensor, Tensor);

impl<R: Runtime> DeviceBackend for DeviceContext<R> {
    fn limits(&self) -> Limits {
        DeviceContext::limits(self)
    }

    fn use_file(&self, file: &Path, what: &str) -> Result<()> {
        self.autotune.use_file(file, what)
    }
}

impl<R: Runtime> Backend for DeviceContext<R> {
    fn name(&self) -> String {
        DeviceContext::name(self)
    }

    fn memory(&self) -> Result<Option<u64>> {
        self.reserved().map(Some)
    }

    fn upload(&self, tensor: &Tensor) -> Result<Tensor> {
        DeviceContext::upload(self, tensor)
    }

    fn cast(&self, tensor: &Tensor, dtype: DType) -> Result<Tensor> {
        packed_half::cast(self, tensor, dtype)
    }

    fn download(&self, tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
        self.download_all(tensors)
    }

    fn downloads(&self) -> u64 {
        self.downloads.load(Ordering::Relaxed)
    }

    fn matmul(&self, a: &Tensor, b: &Tensor, layout: Layout) -> Result<Tensor> {
        ops::matmul::matmul(self, a, b, layout)
    }

    fn low_rank(&self, base: &Tensor, x: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> Result<Pair> {
        ops::low_rank::low_rank(self, base, x, a, b, scale)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f64) -> Result<Pair> {
        ops::rms_norm::rms_norm(self, x, weight, eps)
    }

    fn rms_norm_backward(&self, g: &Tensor, x: &Tensor, weight: &Tensor, inv_rms: &Tensor) -> Result<Pair> {
        ops::rms_norm::rms_norm_backward(self, g, x, weight, inv_rms)
    }

    fn rotary(&self, x: &Tensor, cos: &Tensor, sin: &Tensor, at: &Tensor, direction: Direction) -> Result<Tensor> {
        ops::rotary::rotary(self, x, cos, sin, at, direction)
    }

    fn attention(&self, q: &Tensor, k: &Tensor, v: &Tensor, shape: &AttentionShape, s: &CuSeqlens) -> Result<Pair> {
        ops::attention::attention(self, [q, k, v], shape, s)
    }

    fn attention_backward(
        &self,
        g: &Tensor,
        saved: [&Tensor; 5],
        shape: &AttentionShape,
        cu_seqlens: &CuSeqlens,
    ) -> Result<Triple> {
        ops::attention::attention_backward(self, g, saved, shape, cu_seqlens)
    }

    fn silu_mul(&self, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
        ops::silu_mul::silu_mul(self, gate, up)
    }

    fn silu_mul_backward(&self, g: &Tensor, gate: &Tensor, up: &Tensor) -> Result<Pair> {
        ops::silu_mul::silu_mul_backward(self, g, gate, up)
    }

    fn embedding(&self, table: &Tensor, ids: &Tensor) -> Result<Tensor> {
        ops::embedding::embedding(self, table, ids)
    }

    fn embedding_backward(&self, g: &Tensor, ids: &Tensor, rows: usize) -> Result<Tensor> {
        ops::embedding::embedding_backward(self, g, ids, rows)
    }

    fn concat(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        ops::concat::concat(self, a, b)
    }

    fn cut(&self, x: &Tensor, rows: usize) -> Result<Pair> {
        ops::concat::cut(self, x, rows)
    }

    fn cross_entropy(&self, logits: &Tensor, targets: &Tensor, weights: &Tensor) -> Result<Pair> {
        ops::cross_entropy::cross_entropy(self, logits, targets, weights)
    }

    fn linear_cross_entropy(
        &self,
        x: &Tensor,
        head: &Tensor,
        targets: &Tensor,
        weights: &Tensor,
        want: [bool; 2],
    ) -> Result<(Tensor, Option<Tensor>, Option<Tensor>)> {
        ops::cross_entropy::linear_cross_entropy(self, x, head, targets, weights, want)
    }

    fn bce_with_logits(&self, logits: &Tensor, targets: &Tensor) -> Result<Pair> {
        ops::bce_with_logits::bce_with_logits(self, logits, targets)
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        ops::elementwise::add(self, a, b)
    }

    fn scale(&self, x: &Tensor, factor: f64) -> Result<Tensor> {
        ops::elementwise::scale(self, x, factor)
    }

    fn mul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        ops::elementwise::mul(self, a, b)
    }

    fn add_row(&self, x: &Tensor, row: &Tensor) -> Result<Tensor> {
        ops::rowwise::add_row(self, x, row)
    }

    fn mul_row(&self, x: &Tensor, row: &Tensor) -> Result<Tensor> {
        ops::rowwise::mul_row(self, x, row)
    }

    fn sum_rows(&self, x: &Tensor) -> Result<Tensor> {
        ops::rowwise::sum_rows(self, x)
    }

    fn tanh(&self, x: &Tensor) -> Result<Tensor> {
        ops::tanh::tanh(self, x)
    }

    fn tanh_backward(&self, g: &Tensor, y: &Tensor) -> Result<Tensor> {
        ops::tanh::tanh_backward(self, g, y)
    }

    fn relu(&self, x: &Tensor) -> Result<Tensor> {
        ops::relu::relu(self, x)
    }

    fn relu_backward(&self, g: &Tensor, y: &Tensor) -> Result<Tensor> {
        ops::relu::relu_backward(self, g, y)
    }

    fn gelu(&self, x: &Tensor) -> Result<Tensor> {
        ops::gelu::gelu(self, x)
    }

    fn gelu_backward(&self, g: &Tensor, x: &Tensor) -> Result<Tensor> {
        ops::gelu::gelu_backward(self, g, x)
    }

    fn layer_norm(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Pair> {
        ops::layer_norm::layer_norm(self, x, weight, bias, eps)
    }

    fn layer_norm_backward(&self, g: &Tensor, x: &Tensor, weight: &Tensor, moments: &Tensor) -> Result<Triple> {
        ops::layer_norm::layer_norm_backward(self, g, x, weight, moments)
    }

    fn norm(&self, x: &Tensor) -> Result<Tensor> {
        ops::norm::norm(self, x)
    }

    fn norm_backward(&self, g: &Tensor, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        ops::norm::norm_backward(self, g, x, y)
    }

    fn inverse_sqrt(&self, x: &Tensor) -> Result<Tensor> {
        ops::inverse_sqrt::inverse_sqrt(self, x)
    }

    fn inverse_sqrt_backward(&self, g: &Tensor, y: &Tensor) -> Result<Tensor> {
        ops::inverse_sqrt::inverse_sqrt_backward(self, g, y)
    }

    fn lstm(&self, x: &Tensor, recurrent: &Tensor) -> Result<Triple> {
        ops::lstm::lstm(self, x, recurrent)
    }

    fn lstm_backward(&self, g: &Tensor, saved: [&Tensor; 4]) -> Result<Pair> {
        ops::lstm::lstm_backward(self, g, saved)
    }

    fn dropout(&self, x: &Tensor, rate: f64, key: Key) -> Result<Tensor> {
        ops::dropout::dropout(self, x, rate, key)
    }

    fn adamw(&self, all: &mut [Learned<'_>], clip: Option<Clip<'_>>, step: &AdamW) -> Result<()> {
        ops::adamw::adamw(self, all, clip, step)
    }
}
