//! The kernels of a product: that of this crate, and those of `cubek-matmul`.

use super::sizes::Sizes;
use super::tiles::tiles;
use crate::launch::{Launch, Operand};
use clinpeft_tensor::{DType, Result};
use cubecl::prelude::*;
use cubek_matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek_matmul::launch::{Strategy, launch_ref};
use cubek_std::InputBinding;

/// What computes a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MatmulKernel {
    /// The kernel of this crate.
    Tiles,
    /// `cubek-matmul` on plain units.
    Units,
    /// The same with double buffering.
    DoubleUnits,
    /// On tensor cores, by whole matrices (CMMA).
    Cores,
    /// The same with double buffering.
    DoubleCores,
    /// On tensor cores, register by register (MMA).
    Registers,
    /// The same with double buffering.
    DoubleRegisters,
}

impl MatmulKernel {
    /// Kernels for operands of this type, bf16 or f32.
    pub(super) fn candidates(operands: DType) -> &'static [MatmulKernel] {
        use MatmulKernel::*;
        match operands {
            DType::Bf16 => &[Cores, DoubleCores, Registers, DoubleRegisters],
            _ => &[Units, DoubleUnits, Tiles],
        }
    }

    /// What `cubek-matmul` calls it; `None` for the kernel of this crate.
    pub(super) fn strategy(self) -> Option<Strategy> {
        Some(match self {
            MatmulKernel::Tiles => return None,
            MatmulKernel::Units => Strategy::SimpleUnit(Default::default()),
            MatmulKernel::DoubleUnits => Strategy::DoubleUnit(Default::default()),
            MatmulKernel::Cores => Strategy::SimpleCyclicCmma(Default::default()),
            MatmulKernel::DoubleCores => Strategy::DoubleCyclicCmma(Default::default()),
            MatmulKernel::Registers => Strategy::SimpleCyclicMma(Default::default()),
            MatmulKernel::DoubleRegisters => Strategy::DoubleCyclicMma(Default::default()),
        })
    }

    /// Writes `a b` to `y`; the operands are f32 or both bf16. False if `cubek-matmul` refuses these sizes.
    pub(super) fn run<R: Runtime>(
        self,
        work: &Launch<'_, R>,
        operands: [&Operand; 2],
        y: &Operand,
        sizes: &Sizes,
    ) -> Result<bool> {
        match self.strategy() {
            None => tiles(work, operands, y, sizes).map(|()| true),
            Some(strategy) => work.run(|compute| launch_cubek(compute, &strategy, operands, y, sizes)),
        }
    }
}

/// Whether `cubek-matmul` takes the product.
pub(super) fn launch_cubek<R: Runtime>(
    compute: &ComputeClient<R>,
    strategy: &Strategy,
    [a, b]: [&Operand; 2],
    y: &Operand,
    sizes: &Sizes,
) -> bool {
    let (z, m, k, n) = (sizes.batch, sizes.rows, sizes.depth, sizes.columns);
    let [sa, sb, sy] = sizes.strides();
    let views = (a.matrices([z, m, k], sa), b.matrices([z, k, n], sb), y.matrices([z, m, n], sy));
    let (Some(left), Some(right), Some(out)) = views else {
        return false;
    };
    let float = f32::cube_type();
    // It has no instruction for operands of two types, and takes none but those of the values themselves.
    let stored = if a.dtype() == DType::Bf16 { half::bf16::cube_type() } else { float };
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems { lhs: stored, rhs: stored, out: float });
    let (left, right) = (InputBinding::Normal(left, stored), InputBinding::Normal(right, stored));
    launch_ref(strategy, compute, left, right, out, &mut types).is_ok()
}
