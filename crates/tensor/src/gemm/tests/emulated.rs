//! The registers of AMX in plain Rust, for tests of the blocking on machines without them.

use super::super::amx::registers::{STEP, TILE, TileRegisters};
use half::bf16;

pub(super) struct Emulated;

impl TileRegisters for Emulated {
    type Registers = Vec<[u32; TILE]>;

    fn begin() -> Self::Registers {
        vec![[0x7fc0_7fc0; TILE]; 8]
    }
    fn zero<const T: usize>(registers: &mut Self::Registers) {
        registers[T] = [0; TILE];
    }
    fn load<const T: usize>(registers: &mut Self::Registers, from: &[u32], stride: usize) {
        for (to, from) in registers[T].chunks_exact_mut(STEP).zip(from.chunks(stride)) {
            to.copy_from_slice(&from[..STEP]);
        }
    }
    fn dot<const C: usize, const A: usize, const B: usize>(registers: &mut Self::Registers) {
        let halves = |x: u32| [bf16::from_bits(x as u16).to_f32(), bf16::from_bits((x >> 16) as u16).to_f32()];
        for at in 0..TILE {
            let (row, column) = (at / STEP, at % STEP);
            let mut sum = f32::from_bits(registers[C][at]);
            for p in 0..STEP {
                let (a, b) = (halves(registers[A][row * STEP + p]), halves(registers[B][p * STEP + column]));
                sum += a[0] * b[0];
                sum += a[1] * b[1];
            }
            registers[C][at] = sum.to_bits();
        }
    }
    fn store<const T: usize>(registers: &mut Self::Registers, to: &mut [f32], stride: usize) {
        for (from, to) in registers[T].chunks_exact(STEP).zip(to.chunks_mut(stride)) {
            for (from, to) in from.iter().zip(to) {
                *to = f32::from_bits(*from);
            }
        }
    }
}
