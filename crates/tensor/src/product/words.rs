//! Operands in the order in which a unit reads them: panels of 32-bit words.
//!
//! A word is one f32, or two bf16 that follow each other along the sum. A panel holds `WIDTH` rows of the left operand, or
//! `WIDTH` columns of the right one: `panel[p * WIDTH + i]` is word `p` of row or column `i`. What is missing at an edge is
//! zero on both sides, so it adds nothing. [`Part::Rest`] is what rounding to bf16 took away.

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

#[cfg(target_arch = "x86_64")]
mod vectors {
    #![expect(unsafe_code, reason = "vector instructions")]
    use super::{Stored, View};
    use std::arch::x86_64::*;
    use std::ops::Range;

    /// Bytes by which reading runs ahead: rows are as many streams as the processor hardly follows by itself.
    const AHEAD: usize = 512;

    pub(super) struct Place {
        pub(super) first: usize,
        pub(super) count: usize,
        pub(super) words: Range<usize>,
        pub(super) length: usize,
    }

    /// # Safety
    /// AVX-512; `place` lies inside the view, one of whose strides is 1, and `panel` holds `WIDTH` words for each of its
    /// words.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) unsafe fn whole<S: Stored, const WIDTH: usize>(view: View<'_, S>, place: Place, panel: &mut [u32]) {
        // SAFETY: as promised by the caller, and the closures are called with what `fill` promises.
        unsafe {
            fill::<S, WIDTH, 1>(
                view,
                place,
                panel,
                |at, left| _mm512_castps_si512(S::load(at, left)),
                |at, _, lanes| _mm512_castps_si512(S::load(at, lanes)),
            );
        }
    }

    /// # Safety
    /// As [`whole`], and AVX512_BF16.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn pairs<S: Stored, const WIDTH: usize, const REST: bool>(
        view: View<'_, S>,
        place: Place,
        panel: &mut [u32],
    ) {
        // SAFETY: as promised by the caller, and the closures are called with what `fill` promises.
        unsafe {
            fill::<S, WIDTH, 2>(
                view,
                place,
                panel,
                |at, left| pairs_along::<S, REST>(at, left),
                |at, next, lanes| {
                    let low = rounded_lanes::<REST>(S::load(at, lanes));
                    match next {
                        Some(next) => {
                            let high = rounded_lanes::<REST>(S::load(next, lanes));
                            _mm512_or_si512(low, _mm512_slli_epi32::<16>(high))
                        }
                        None => low,
                    }
                },
            );
        }
    }

    /// Sixteen words of two values each, of `left` values that follow each other; what is missing is zero.
    ///
    /// # Safety
    /// `left` values are there; AVX512_BF16.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn pairs_along<S: Stored, const REST: bool>(at: *const S, left: usize) -> __m512i {
        // SAFETY: values are read as far as the caller says; both types are 512 bits without invalid values.
        unsafe {
            let low = S::load(at, left);
            let high = if left > 16 { S::load(at.add(16), left - 16) } else { _mm512_setzero_ps() };
            let rounded = |l, h| std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(h, l));
            let words = rounded(low, high);
            if !REST {
                return words;
            }
            let first = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(words));
            let second = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(words));
            let widened = |x| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(x));
            rounded(_mm512_sub_ps(low, widened(first)), _mm512_sub_ps(high, widened(second)))
        }
    }

    /// Fills `panel` with the words of `width` rows, sixteen of each row at a time.
    ///
    /// # Safety
    /// As [`pairs`]; the view lies by rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn rows<const REST: bool>(view: View<'_, f32>, place: Place, width: usize, panel: &mut [u32]) {
        let (source, out) = (view.values.as_ptr(), panel.as_mut_ptr());
        for i in 0..width {
            let row = source.wrapping_add((place.first + i) * view.across);
            for block in 0..place.words.len() / 16 {
                let k = 2 * (place.words.start + 16 * block);
                let left = if i < place.count { place.length.saturating_sub(k) } else { 0 };
                // SAFETY: values are read as far as the row goes; the panel holds sixteen words of each row for each block.
                unsafe {
                    let words =
                        if left > 0 { pairs_along::<f32, REST>(row.add(k), left) } else { _mm512_setzero_si512() };
                    _mm512_storeu_si512(out.add((block * width + i) * 16).cast(), words);
                }
            }
        }
    }

    /// Sixteen bf16, each in 32 bits.
    ///
    /// # Safety
    /// AVX512_BF16.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn rounded_lanes<const REST: bool>(x: __m512) -> __m512i {
        // SAFETY: both types are 256 bits without invalid values.
        let round =
            |x| unsafe { _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x))) };
        let rounded = round(x);
        if !REST {
            return rounded;
        }
        round(_mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(rounded))))
    }

    /// Walks over a panel in blocks of sixteen by sixteen words. `along(at, left)` makes sixteen words of one row from
    /// `16 * VALUES` values of which `left` are there; `across(at, next, lanes)` makes one word of each of `lanes` columns
    /// from one row of the source, and the next one where a word has two.
    ///
    /// # Safety
    /// As [`whole`].
    #[inline(always)]
    unsafe fn fill<S: Stored, const WIDTH: usize, const VALUES: usize>(
        view: View<'_, S>,
        place: Place,
        panel: &mut [u32],
        along: impl Fn(*const S, usize) -> __m512i,
        across: impl Fn(*const S, Option<*const S>, usize) -> __m512i,
    ) {
        let source = view.values.as_ptr();
        let out = panel.as_mut_ptr();
        let count = place.words.len();
        const { assert!(WIDTH < 16 || WIDTH.is_multiple_of(16), "whole groups, or one that is not full") };
        for group in (0..WIDTH).step_by(16) {
            let lanes = place.count.saturating_sub(group).min(16);
            // A group that is not full writes over the beginning of the next word's, which comes later; but for the last.
            let store = |p: usize, words: __m512i| {
                let to = out.wrapping_add(p * WIDTH + group).cast::<i32>();
                // SAFETY: word `p` of the panel begins at `p * WIDTH`, and whatever follows it, or the mask, has room.
                unsafe {
                    if WIDTH >= 16 || p * WIDTH + 16 <= count * WIDTH {
                        _mm512_storeu_si512(to.cast(), words);
                    } else {
                        _mm512_mask_storeu_epi32(to, ((1u32 << WIDTH.min(16)) - 1) as u16, words);
                    }
                }
            };
            // SAFETY: sources are touched for rows below `place.count` and values below `place.length` only.
            unsafe {
                if view.along == 1 {
                    for block in (0..count).step_by(16) {
                        let k = (place.words.start + block) * VALUES;
                        let left = place.length.saturating_sub(k);
                        let mut rows = [_mm512_setzero_si512(); 16];
                        if left > 0 {
                            for (i, row) in rows.iter_mut().enumerate().take(lanes) {
                                let at = source.add((place.first + group + i) * view.across + k);
                                _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(AHEAD));
                                *row = along(at, left);
                            }
                        }
                        let columns = transposed(rows);
                        let here = 16.min(count - block);
                        for (p, words) in columns.iter().enumerate().take(here) {
                            store(block + p, *words);
                        }
                    }
                } else {
                    for p in 0..count {
                        let k = (place.words.start + p) * VALUES;
                        let mut words = _mm512_setzero_si512();
                        if k < place.length && lanes > 0 {
                            let at = source.add(k * view.along + place.first + group);
                            let next = (VALUES == 2 && k + 1 < place.length).then(|| at.add(view.along));
                            words = across(at, next, lanes);
                        }
                        store(p, words);
                    }
                }
            }
        }
    }

    /// Rows become columns.
    ///
    /// # Safety
    /// AVX-512.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn transposed(r: [__m512i; 16]) -> [__m512i; 16] {
        let mut a = [_mm512_setzero_si512(); 16];
        let mut b = a;
        for i in 0..8 {
            a[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
            a[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
        }
        for i in 0..4 {
            b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
            b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
            b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
            b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
        }
        // b[4 g + j] holds, in its 128-bit lane l, column 4 l + j of rows 4 g .. 4 g + 4.
        for j in 0..4 {
            let low = _mm512_shuffle_i32x4::<0x88>(b[j], b[4 + j]);
            let high = _mm512_shuffle_i32x4::<0xdd>(b[j], b[4 + j]);
            let low2 = _mm512_shuffle_i32x4::<0x88>(b[8 + j], b[12 + j]);
            let high2 = _mm512_shuffle_i32x4::<0xdd>(b[8 + j], b[12 + j]);
            a[j] = _mm512_shuffle_i32x4::<0x88>(low, low2);
            a[4 + j] = _mm512_shuffle_i32x4::<0x88>(high, high2);
            a[8 + j] = _mm512_shuffle_i32x4::<0xdd>(low, low2);
            a[12 + j] = _mm512_shuffle_i32x4::<0xdd>(high, high2);
        }
        a
    }
}

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
