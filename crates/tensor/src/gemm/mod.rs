//! Matrix products (GEMM) on the CPU.
//!
//! | file | instruction set | operands |
//! |---|---|---|
//! | `amx` | AMX | bf16, or f32 as two bf16 |
//! | `avx512` | AVX512_BF16 `vdpbf16ps` | bf16 |
//! | `avx512` | AVX-512 FMA | f32 |
//! | `gemm_crate` | whatever the `gemm` crate finds | f32, f64 |
//!
//! [`Precision`] says how exact a product must be; `select` picks the best backend of this machine that is. The first three are
//! micro-kernels (`microkernel`), which share one blocking (`blocking`) and one packing (`pack`): work is cut by shape alone, so
//! that the number of threads changes no bit. `prepack` caches packs of frozen weights. `unpacked` has the small products of
//! attention, on one thread.
#![cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    allow(dead_code, unused_imports, reason = "other systems lack some of the kernels")
)]

mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocking;
mod cpu;
mod float;
mod gemm_crate;
mod microkernel;
mod operand;
mod pack;
mod prepack;
mod select;
#[cfg(test)]
mod tests;
mod unpacked;

pub(crate) use float::GemmFloat;
pub use operand::Precision;
pub(crate) use operand::{AlphaBeta, CachedPack, Gemm, MatrixView, RhsView, Sizes};
pub use prepack::PrepackPolicy;
pub(crate) use prepack::PrepackedWeight;
pub(crate) use select::backend;
pub use select::{force_isa, isa};
pub(crate) use unpacked::RhsPanels;
