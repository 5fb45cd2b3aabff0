//! Operands in the order in which a unit reads them: panels of 32-bit words.
//!
//! A word is one f32, or two bf16 that follow each other along the sum. A panel holds `WIDTH` rows of the left operand, or
//! `WIDTH` columns of the right one: `panel[p * WIDTH + i]` is word `p` of row or column `i`. What is missing at an edge is
//! zero on both sides, so it adds nothing. [`Part::Rest`] is what rounding to bf16 took away.

#[cfg(target_arch = "x86_64")]
mod vectors;

use super::View;
use half::{bf16, f16};

/// What a word is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// One f32.
    Whole,
    /// Two values rounded to bf16.
    Rounded,
    /// Two values minus what they are when rounded, themselves rounded to bf16.
    Rest,
}

impl Part {
    /// Values of a word.
    pub const fn values(self) -> usize {
        match self {
            Part::Whole => 1,
            Part::Rounded | Part::Rest => 2,
        }
    }
}

/// A type in which operands are stored.
pub trait Stored: Copy + Send + Sync + 'static {
    /// The value.
    fn wide(self) -> f32;
    /// Sixteen values from `at`, of which the first `count` are read and the others are zero.
    ///
    /// # Safety
    /// `at` points to at least `count` values; the machine has AVX-512.
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "vector instructions")]
    unsafe fn load(at: *const Self, count: usize) -> std::arch::x86_64::__m512;
}

/// Bits of the nearest bf16, ties to even.
fn narrow(x: f32) -> u32 {
    u32::from(bf16::from_f32(x).to_bits())
}

fn part_of(x: f32, part: Part) -> u32 {
    match part {
        Part::Whole => x.to_bits(),
        Part::Rounded => narrow(x),
        Part::Rest => narrow(x - bf16::from_f32(x).to_f32()),
    }
}

/// Fills `panel` with the words `words` of rows or columns `first..first + count` of `view`, of `length` values each.
pub fn pack<S: Stored, const WIDTH: usize>(
    view: View<'_, S>,
    (first, count): (usize, usize),
    words: std::ops::Range<usize>,
    length: usize,
    part: Part,
    panel: &mut [u32],
) {
    assert!(count <= WIDTH && panel.len() == words.len() * WIDTH, "a panel of the right size");
    assert!(view.holds(first + count, (words.end * part.values()).min(length)), "the operand is large enough");
    #[cfg(target_arch = "x86_64")]
    if (view.along == 1 || view.across == 1)
        && super::avx512::available()
        && (part == Part::Whole || super::bf16::available())
    {
        let at = vectors::Place { first, count, words, length };
        // SAFETY: the instructions are there, and by the assertions above every value and word lies inside its slice.
        #[expect(unsafe_code, reason = "vector instructions")]
        unsafe {
            match part {
                Part::Whole => vectors::whole::<S, WIDTH>(view, at, panel),
                Part::Rounded => vectors::pairs::<S, WIDTH, false>(view, at, panel),
                Part::Rest => vectors::pairs::<S, WIDTH, true>(view, at, panel),
            }
        }
        return;
    }
    portable::<S, WIDTH>(view, (first, count), words, length, part, panel);
}

/// Fills `panel` with the same words by rows, `step` of each row at a time: word `p` of row `i` is
/// `panel[(p / step * WIDTH + i) * step + p % step]`.
pub fn pack_rows<const WIDTH: usize>(
    view: View<'_, f32>,
    (first, count): (usize, usize),
    words: std::ops::Range<usize>,
    length: usize,
    part: Part,
    step: usize,
    panel: &mut [u32],
) {
    assert!(
        count <= WIDTH && panel.len() == words.len() * WIDTH && words.len().is_multiple_of(step),
        "a panel of the right size"
    );
    assert!(view.holds(first + count, (words.end * part.values()).min(length)), "the operand is large enough");
    #[cfg(target_arch = "x86_64")]
    if view.along == 1 && step == 16 && part != Part::Whole && super::avx512::available() && super::bf16::available() {
        let at = vectors::Place { first, count, words, length };
        // SAFETY: as in `pack`.
        #[expect(unsafe_code, reason = "vector instructions")]
        unsafe {
            match part {
                Part::Rest => vectors::rows::<true>(view, at, WIDTH, panel),
                _ => vectors::rows::<false>(view, at, WIDTH, panel),
            }
        }
        return;
    }
    // Words by rows are words by columns, transposed in blocks that stay in the first cache.
    let mut block = vec![0; step * WIDTH];
    for (start, to) in words.clone().step_by(step).zip(panel.chunks_exact_mut(step * WIDTH)) {
        pack::<f32, WIDTH>(view, (first, count), start..start + step, length, part, &mut block);
        for (i, row) in to.chunks_exact_mut(step).enumerate() {
            for (p, word) in row.iter_mut().enumerate() {
                *word = block[p * WIDTH + i];
            }
        }
    }
}

/// Words of 32 by 32 values, two in each.
pub const SQUARE: usize = 16 * 32;

/// Words of a square along its other side: word `q` of column `k` is made of the values `k` of the columns `2 q` and `2 q + 1`.
pub fn turn(from: &[u32; SQUARE], to: &mut [u32; SQUARE]) {
    #[cfg(target_arch = "x86_64")]
    if super::avx512::available() {
        // SAFETY: the instructions are there.
        #[expect(unsafe_code, reason = "vector instructions")]
        return unsafe { vectors::turn(from, to) };
    }
    turn_portable(from, to);
}

fn turn_portable(from: &[u32; SQUARE], to: &mut [u32; SQUARE]) {
    for (p, row) in from.as_chunks::<32>().0.iter().enumerate() {
        for (q, [a, b]) in row.as_chunks::<2>().0.iter().enumerate() {
            to[q * 32 + 2 * p] = a & 0xffff | b << 16;
            to[q * 32 + 2 * p + 1] = a >> 16 | b & 0xffff_0000;
        }
    }
}

/// What [`pack`] does, in plain Rust.
fn portable<S: Stored, const WIDTH: usize>(
    view: View<'_, S>,
    (first, count): (usize, usize),
    words: std::ops::Range<usize>,
    length: usize,
    part: Part,
    panel: &mut [u32],
) {
    let value = |i: usize, k: usize| if k < length { part_of(view.at(first + i, k).wide(), part) } else { 0 };
    for (p, row) in words.zip(panel.chunks_exact_mut(WIDTH)) {
        for (i, word) in row.iter_mut().enumerate() {
            *word = match part {
                _ if i >= count => 0,
                Part::Whole => value(i, p),
                Part::Rounded | Part::Rest => value(i, 2 * p) | value(i, 2 * p + 1) << 16,
            };
        }
    }
}

macro_rules! stored {
    ($t:ty, $wide:expr, $load:expr) => {
        impl Stored for $t {
            #[inline(always)]
            fn wide(self) -> f32 {
                $wide(self)
            }
            #[cfg(target_arch = "x86_64")]
            #[inline]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
            #[expect(unsafe_code, reason = "vector instructions")]
            unsafe fn load(at: *const Self, count: usize) -> std::arch::x86_64::__m512 {
                let mask = if count >= 16 { u16::MAX } else { (1u16 << count) - 1 };
                // SAFETY: lanes that the mask leaves out are not read; the caller answers for the others.
                unsafe { $load(at, mask) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _mm256_maskz_loadu_epi16, _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_maskz_loadu_ps,
    _mm512_slli_epi32,
};
stored!(f32, |x| x, |at, mask| _mm512_maskz_loadu_ps(mask, at));
stored!(bf16, bf16::to_f32, |at: *const bf16, mask| {
    let bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, at.cast()));
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
});
stored!(f16, f16::to_f32, |at: *const f16, mask| _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, at.cast())));

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn agree<S: Stored, const WIDTH: usize>(values: &[S], rows: usize, length: usize, first: usize, part: Part) {
        let count = (rows - first).min(WIDTH);
        let all = length.div_ceil(part.values()) + 3;
        for words in [0..all, all / 2..all] {
            for view in [View { values, across: length, along: 1 }, View { values, across: 1, along: rows }] {
                let mut got = vec![7; words.len() * WIDTH];
                let mut want = got.clone();
                pack::<S, WIDTH>(view, (first, count), words.clone(), length, part, &mut got);
                portable::<S, WIDTH>(view, (first, count), words.clone(), length, part, &mut want);
                assert_eq!(got, want);
            }
        }
    }

    #[test]
    fn a_square_is_turned_the_same_way_by_vectors_and_plain_code_and_twice_is_not_at_all() {
        let from: [u32; SQUARE] = std::array::from_fn(|i| (i as u32).wrapping_mul(2_654_435_761));
        let [mut plain, mut vectors, mut back] = [[0; SQUARE]; 3];
        turn_portable(&from, &mut plain);
        turn(&from, &mut vectors);
        turn(&vectors, &mut back);
        assert!(plain == vectors && back == from && plain != from);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn vectors_and_plain_code_make_the_same_words(rows in 1usize..70, length in 1usize..90, skip in 0usize..40) {
            let first = skip % rows;
            let mut s = clinpeft_rng::Seed(9).stream("words");
            let values: Vec<f32> = (0..rows * length).map(|_| clinpeft_rng::normal(&mut s) as f32).collect();
            let short: Vec<bf16> = values.iter().map(|x| bf16::from_f32(*x)).collect();
            let half: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
            for part in [Part::Whole, Part::Rounded, Part::Rest] {
                agree::<f32, 12>(&values, rows, length, first, part);
                agree::<f32, 32>(&values, rows, length, first, part);
                agree::<bf16, 32>(&short, rows, length, first, part);
                agree::<f16, 32>(&half, rows, length, first, part);
            }
        }
    }
}
