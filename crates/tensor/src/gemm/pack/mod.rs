//! Operands in the order in which micro-kernels read them: panels of packed elements of 32 bits.
//!
//! An element is one f32, or two bf16 that follow each other along K. A panel holds `WIDTH` rows of the left operand, or
//! `WIDTH` columns of the right one: `panel[p * WIDTH + i]` is element `p` of row or column `i`. What is missing at an edge is
//! zero on both sides, so it adds nothing. [`SplitPart::Low`] is what rounding to bf16 took away.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod source;

use super::cpu;
use super::operand::MatrixView;
use half::bf16;
pub use source::{Place, SplitPart, Stored, TRANSPOSE_BLOCK};

/// Bits of the nearest bf16, ties to even.
fn bf16_bits(x: f32) -> u32 {
    u32::from(bf16::from_f32(x).to_bits())
}

fn part_of(x: f32, part: SplitPart) -> u32 {
    match part {
        SplitPart::Full => x.to_bits(),
        SplitPart::High => bf16_bits(x),
        SplitPart::Low => bf16_bits(x - bf16::from_f32(x).to_f32()),
    }
}

/// Fills `panel` with the elements at `place`.
pub fn pack<S: Stored, const WIDTH: usize>(view: MatrixView<'_, S>, place: Place, part: SplitPart, panel: &mut [u32]) {
    place.check(&view, part, WIDTH, panel);
    #[cfg(target_arch = "x86_64")]
    if (view.k_stride == 1 || view.stride == 1)
        && cpu::has_avx512()
        && (part == SplitPart::Full || cpu::has_avx512_bf16())
    {
        // SAFETY: the instructions are there, and by the check above every value and element lies inside its slice.
        #[expect(unsafe_code, reason = "vector instructions")]
        unsafe {
            match part {
                SplitPart::Full => avx512::whole::<S, WIDTH>(view, place, panel),
                SplitPart::High => avx512::pairs::<S, WIDTH, false>(view, place, panel),
                SplitPart::Low => avx512::pairs::<S, WIDTH, true>(view, place, panel),
            }
        }
        return;
    }
    portable::<S, WIDTH>(view, place, part, panel);
}

/// Fills `panel` with the same elements by rows, `step` of each row at a time: element `p` of row `i` is
/// `panel[(p / step * WIDTH + i) * step + p % step]`.
pub fn pack_rows<const WIDTH: usize>(
    view: MatrixView<'_, f32>,
    place: Place,
    part: SplitPart,
    step: usize,
    panel: &mut [u32],
) {
    place.check(&view, part, WIDTH, panel);
    assert!(place.elements.len().is_multiple_of(step), "whole steps");
    #[cfg(target_arch = "x86_64")]
    if view.k_stride == 1 && step == 16 && part != SplitPart::Full && cpu::has_avx512_bf16() {
        // SAFETY: as in `pack`.
        #[expect(unsafe_code, reason = "vector instructions")]
        unsafe {
            match part {
                SplitPart::Low => avx512::rows::<true>(view, place, WIDTH, panel),
                _ => avx512::rows::<false>(view, place, WIDTH, panel),
            }
        }
        return;
    }
    // Elements by rows are elements by columns, transposed in blocks that stay in the first cache.
    let mut block = vec![0; step * WIDTH];
    for (start, to) in place.elements.clone().step_by(step).zip(panel.chunks_exact_mut(step * WIDTH)) {
        pack::<f32, WIDTH>(view, Place { elements: start..start + step, ..place }, part, &mut block);
        for (i, row) in to.chunks_exact_mut(step).enumerate() {
            for (p, element) in row.iter_mut().enumerate() {
                *element = block[p * WIDTH + i];
            }
        }
    }
}

/// Elements of a square along its other side: element `q` of column `k` is made of the values `k` of the columns `2 q` and
/// `2 q + 1`.
pub fn transpose_block(from: &[u32; TRANSPOSE_BLOCK], to: &mut [u32; TRANSPOSE_BLOCK]) {
    #[cfg(target_arch = "x86_64")]
    if cpu::has_avx512() {
        // SAFETY: the instructions are there.
        #[expect(unsafe_code, reason = "vector instructions")]
        return unsafe { avx512::transpose_block(from, to) };
    }
    transpose_block_portable(from, to);
}

fn transpose_block_portable(from: &[u32; TRANSPOSE_BLOCK], to: &mut [u32; TRANSPOSE_BLOCK]) {
    for (p, row) in from.as_chunks::<32>().0.iter().enumerate() {
        for (q, [a, b]) in row.as_chunks::<2>().0.iter().enumerate() {
            to[q * 32 + 2 * p] = a & 0xffff | b << 16;
            to[q * 32 + 2 * p + 1] = a >> 16 | b & 0xffff_0000;
        }
    }
}

/// What [`pack`] does, in plain Rust.
fn portable<S: Stored, const WIDTH: usize>(view: MatrixView<'_, S>, place: Place, part: SplitPart, panel: &mut [u32]) {
    let value =
        |i: usize, k: usize| if k < place.length { part_of(view.at(place.first + i, k).wide(), part) } else { 0 };
    for (p, row) in place.elements.zip(panel.chunks_exact_mut(WIDTH)) {
        for (i, element) in row.iter_mut().enumerate() {
            *element = match part {
                _ if i >= place.count => 0,
                SplitPart::Full => value(i, p),
                SplitPart::High | SplitPart::Low => value(i, 2 * p) | value(i, 2 * p + 1) << 16,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;
    use proptest::prelude::*;

    fn agree<S: Stored, const WIDTH: usize>(values: &[S], rows: usize, length: usize, first: usize, part: SplitPart) {
        let count = (rows - first).min(WIDTH);
        let all = length.div_ceil(part.values()) + 3;
        for elements in [0..all, all / 2..all] {
            for view in
                [MatrixView { values, stride: length, k_stride: 1 }, MatrixView { values, stride: 1, k_stride: rows }]
            {
                let mut got = vec![7; elements.len() * WIDTH];
                let mut want = got.clone();
                let place = Place { first, count, elements: elements.clone(), length };
                pack::<S, WIDTH>(view, place.clone(), part, &mut got);
                portable::<S, WIDTH>(view, place, part, &mut want);
                assert_eq!(got, want);
            }
        }
    }

    #[test]
    fn a_block_is_transposed_the_same_way_by_vectors_and_plain_code_and_twice_is_not_at_all() {
        let from: [u32; TRANSPOSE_BLOCK] = std::array::from_fn(|i| (i as u32).wrapping_mul(2_654_435_761));
        let [mut plain, mut vectors, mut back] = [[0; TRANSPOSE_BLOCK]; 3];
        transpose_block_portable(&from, &mut plain);
        transpose_block(&from, &mut vectors);
        transpose_block(&vectors, &mut back);
        assert!(plain == vectors && back == from && plain != from);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn vectors_and_plain_code_make_the_same_elements(rows in 1usize..70, length in 1usize..90, skip in 0usize..40) {
            let first = skip % rows;
            let mut s = clinpeft_rng::Seed(9).stream("elements");
            let values: Vec<f32> = (0..rows * length).map(|_| clinpeft_rng::normal(&mut s) as f32).collect();
            let short: Vec<bf16> = values.iter().map(|x| bf16::from_f32(*x)).collect();
            let half: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
            for part in [SplitPart::Full, SplitPart::High, SplitPart::Low] {
                agree::<f32, 12>(&values, rows, length, first, part);
                agree::<f32, 32>(&values, rows, length, first, part);
                agree::<bf16, 32>(&short, rows, length, first, part);
                agree::<f16, 32>(&half, rows, length, first, part);
            }
        }
    }
}
