//! Where tensors live and who computes: the op contract as a trait.

use crate::ops::{AdamW, AttentionShape, Clip, CuSeqlens, Direction, Layout, Learned};
use crate::{DType, Error, Result, Tensor};
use std::fmt;
use std::sync::Arc;

/// Where a tensor lives.
#[derive(Clone, Default)]
pub enum Device {
    /// Main memory, computed by this crate.
    #[default]
    Cpu,
    /// Another backend.
    Other(Arc<dyn Backend>),
}

impl Device {
    /// Its name, for example `cpu` or `vulkan:0`.
    pub fn name(&self) -> String {
        match self {
            Device::Cpu => "cpu".into(),
            Device::Other(b) => b.name(),
        }
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

macro_rules! contract {
    ($($(#[$doc:meta])* fn $name:ident(&self $(, $arg:ident: $ty:ty)*) -> $out:ty;)*) => {
        /// What a device must be able to do. One method per operation, named like its file in [`crate::ops`],
        /// where formulas and shapes are stated and checked; a backend may rely on those checks.
        ///
        /// An operation that a backend leaves out is an error when it is called, never a silent copy to the CPU.
        pub trait Backend: Send + Sync {
            /// Name with its index, for example `vulkan:0`.
            fn name(&self) -> String;
            /// Bytes of the device that were set aside for tensors so far, where it tells.
            fn memory(&self) -> Result<Option<u64>> {
                Ok(None)
            }
            /// Copies a CPU tensor to the device.
            fn upload(&self, tensor: &Tensor) -> Result<Tensor>;
            /// The same floats in another dtype of 32 or 16 bits; see [`Tensor::cast`].
            fn cast(&self, tensor: &Tensor, dtype: DType) -> Result<Tensor>;
            /// Copies tensors of this device to the CPU. Waits once, for all work before.
            fn download(&self, tensors: &[&Tensor]) -> Result<Vec<Tensor>>;
            /// How often something was copied to the CPU so far, where it is counted; without what is measured once for a
            /// choice.
            fn downloads(&self) -> u64 {
                0
            }
            $(
                $(#[$doc])*
                fn $name(&self $(, $arg: $ty)*) -> Result<$out> {
                    $(let _ = $arg;)*
                    Err(Error::Unsupported { op: stringify!($name), device: self.name() })
                }
            )*
        }
    };
}

contract! {
    /// See [`crate::ops::matmul`].
    fn matmul(&self, a: &Tensor, b: &Tensor, layout: Layout) -> Tensor;
    /// See [`crate::ops::low_rank`].
    fn low_rank(&self, base: &Tensor, x: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> (Tensor, Tensor);
    /// See [`crate::ops::rms_norm`].
    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f64) -> (Tensor, Tensor);
    /// See [`crate::ops::rms_norm_backward`].
    fn rms_norm_backward(&self, g: &Tensor, x: &Tensor, weight: &Tensor, inv_rms: &Tensor) -> (Tensor, Tensor);
    /// See [`crate::ops::rotary`].
    fn rotary(&self, x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &Tensor, direction: Direction) -> Tensor;
    /// See [`crate::ops::attention`].
    fn attention(&self, q: &Tensor, k: &Tensor, v: &Tensor, shape: &AttentionShape, cu_seqlens: &CuSeqlens) -> (Tensor, Tensor);
    /// See [`crate::ops::attention_backward`].
    fn attention_backward(&self, g: &Tensor, saved: [&Tensor; 5], shape: &AttentionShape, cu_seqlens: &CuSeqlens) -> (Tensor, Tensor, Tensor);
    /// See [`crate::ops::silu_mul`].
    fn silu_mul(&self, gate: &Tensor, up: &Tensor) -> Tensor;
    /// See [`crate::ops::silu_mul_backward`].
    fn silu_mul_backward(&self, g: &Tensor, gate: &Tensor, up: &Tensor) -> (Tensor, Tensor);
    /// See [`crate::ops::embedding`].
    fn embedding(&self, table: &Tensor, ids: &Tensor) -> Tensor;
    /// See [`crate::ops::embedding_backward`].
    fn embedding_backward(&self, g: &Tensor, ids: &Tensor, rows: usize) -> Tensor;
    /// See [`crate::ops::concat`].
    fn concat(&self, a: &Tensor, b: &Tensor) -> Tensor;
    /// See [`crate::ops::cut`].
    fn cut(&self, x: &Tensor, rows: usize) -> (Tensor, Tensor);
    /// See [`crate::ops::cross_entropy`].
    fn cross_entropy(&self, logits: &Tensor, targets: &Tensor, weights: &Tensor) -> (Tensor, Tensor);
    /// See [`crate::ops::linear_cross_entropy`].
    fn linear_cross_entropy(&self, x: &Tensor, head: &Tensor, targets: &Tensor, weights: &Tensor, want: [bool; 2]) -> (Tensor, Option<Tensor>, Option<Tensor>);
    /// See [`crate::ops::bce_with_logits`].
    fn bce_with_logits(&self, logits: &Tensor, targets: &Tensor) -> (Tensor, Tensor);
    /// See [`crate::ops::add`].
    fn add(&self, a: &Tensor, b: &Tensor) -> Tensor;
    /// See [`crate::ops::scale`].
    fn scale(&self, x: &Tensor, factor: f64) -> Tensor;
    /// See [`crate::ops::mul`].
    fn mul(&self, a: &Tensor, b: &Tensor) -> Tensor;
    /// See [`crate::ops::add_row`].
    fn add_row(&self, x: &Tensor, row: &Tensor) -> Tensor;
    /// See [`crate::ops::mul_row`].
    fn mul_row(&self, x: &Tensor, row: &Tensor) -> Tensor;
    /// See [`crate::ops::sum_rows`].
    fn sum_rows(&self, x: &Tensor) -> Tensor;
    /// See [`crate::ops::tanh`].
    fn tanh(&self, x: &Tensor) -> Tensor;
    /// See [`crate::ops::tanh_backward`].
    fn tanh_backward(&self, g: &Tensor, y: &Tensor) -> Tensor;
    /// See [`crate::ops::relu`].
    fn relu(&self, x: &Tensor) -> Tensor;
    /// See [`crate::ops::relu_backward`].
    fn relu_backward(&self, g: &Tensor, y: &Tensor) -> Tensor;
    /// See [`crate::ops::gelu`].
    fn gelu(&self, x: &Tensor) -> Tensor;
    /// See [`crate::ops::gelu_backward`].
    fn gelu_backward(&self, g: &Tensor, x: &Tensor) -> Tensor;
    /// See [`crate::ops::layer_norm`].
    fn layer_norm(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> (Tensor, Tensor);
    /// See [`crate::ops::layer_norm_backward`].
    fn layer_norm_backward(&self, g: &Tensor, x: &Tensor, weight: &Tensor, moments: &Tensor) -> (Tensor, Tensor, Tensor);
    /// See [`crate::ops::norm`].
    fn norm(&self, x: &Tensor) -> Tensor;
    /// See [`crate::ops::norm_backward`].
    fn norm_backward(&self, g: &Tensor, x: &Tensor, y: &Tensor) -> Tensor;
    /// See [`crate::ops::inverse_sqrt`].
    fn inverse_sqrt(&self, x: &Tensor) -> Tensor;
    /// See [`crate::ops::inverse_sqrt_backward`].
    fn inverse_sqrt_backward(&self, g: &Tensor, y: &Tensor) -> Tensor;
    /// See [`crate::ops::lstm`].
    fn lstm(&self, x: &Tensor, recurrent: &Tensor) -> (Tensor, Tensor, Tensor);
    /// See [`crate::ops::lstm_backward`].
    fn lstm_backward(&self, g: &Tensor, saved: [&Tensor; 4]) -> (Tensor, Tensor);
    /// See [`crate::ops::dropout`].
    fn dropout(&self, x: &Tensor, rate: f64, key: clinpeft_rng::Key) -> Tensor;
    /// See [`crate::ops::adamw`].
    fn adamw(&self, all: &mut [Learned<'_>], clip: Option<Clip<'_>>, step: &AdamW) -> ();
}
