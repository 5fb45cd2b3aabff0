//! The tile registers.

/// Packed elements of a row of a register.
pub(in super::super) const STEP: usize = 16;
/// Packed elements of a register.
pub(in super::super) const TILE: usize = 16 * STEP;

/// Eight tile registers.
pub(in super::super) trait TileRegisters: Send + Sync + 'static {
    /// What a thread holds while it uses the registers; where it begins and ends they are configured and given back.
    type Registers;
    /// Configures the registers of this thread: sixteen rows of 64 bytes each.
    fn begin() -> Self::Registers;
    /// Sets register `T` to zero.
    fn zero<const T: usize>(registers: &mut Self::Registers);
    /// Loads register `T` from sixteen rows of sixteen packed elements, or f32 as bits, `stride` apart.
    fn load<const T: usize>(registers: &mut Self::Registers, from: &[u32], stride: usize);
    /// Adds the products of pairs of bf16: `C += A B`.
    fn dot<const C: usize, const A: usize, const B: usize>(registers: &mut Self::Registers);
    /// Stores register `T` as sixteen rows of sixteen f32, `stride` apart.
    fn store<const T: usize>(registers: &mut Self::Registers, to: &mut [f32], stride: usize);
}
