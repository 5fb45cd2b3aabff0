//! The operations, one file each, named as in `clinpeft_tensor::ops`, where shapes are checked before a backend is called.

pub(crate) mod adamw;
pub(crate) mod attention;
pub(crate) mod bce_with_logits;
pub(crate) mod concat;
pub(crate) mod cross_entropy;
pub(crate) mod dropout;
pub(crate) mod elementwise;
pub(crate) mod embedding;
pub(crate) mod gelu;
pub(crate) mod inverse_sqrt;
pub(crate) mod layer_norm;
pub(crate) mod low_rank;
pub(crate) mod lstm;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod relu;
pub(crate) mod rms_norm;
pub(crate) mod rotary;
pub(crate) mod rowwise;
pub(crate) mod silu_mul;
pub(crate) mod tanh;
