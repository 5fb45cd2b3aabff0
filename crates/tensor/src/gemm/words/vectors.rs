//! Words by AVX-512.
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
                let words = if left > 0 { pairs_along::<f32, REST>(row.add(k), left) } else { _mm512_setzero_si512() };
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
    let round = |x| unsafe { _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x))) };
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

/// See [`super::turn`].
///
/// # Safety
/// AVX-512.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn turn(from: &[u32; super::SQUARE], to: &mut [u32; super::SQUARE]) {
    // Two neighbours are 64 bits; their halves (a, A, b, B) become (a, b, A, B), and then rows of pairs become columns.
    let halves = _mm512_set4_epi32(0x0f0e_0b0a, 0x0d0c_0908, 0x0706_0302, 0x0504_0100);
    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut r = [_mm512_setzero_si512(); 8];
        for (p, r) in r.iter_mut().enumerate() {
            // SAFETY: row `8 i + p` of 32 words, of which the half `j` is read.
            let pairs = unsafe { _mm512_loadu_si512(from.as_ptr().add((8 * i + p) * 32 + 16 * j).cast()) };
            *r = _mm512_shuffle_epi8(pairs, halves);
        }
        for (odd, t) in [
            [0, 2, 4, 6].map(|p| _mm512_unpacklo_epi64(r[p], r[p + 1])),
            [0, 2, 4, 6].map(|p| _mm512_unpackhi_epi64(r[p], r[p + 1])),
        ]
        .into_iter()
        .enumerate()
        {
            let even = [_mm512_shuffle_i64x2::<0x88>(t[0], t[1]), _mm512_shuffle_i64x2::<0x88>(t[2], t[3])];
            let rest = [_mm512_shuffle_i64x2::<0xdd>(t[0], t[1]), _mm512_shuffle_i64x2::<0xdd>(t[2], t[3])];
            let columns = [
                _mm512_shuffle_i64x2::<0x88>(even[0], even[1]),
                _mm512_shuffle_i64x2::<0x88>(rest[0], rest[1]),
                _mm512_shuffle_i64x2::<0xdd>(even[0], even[1]),
                _mm512_shuffle_i64x2::<0xdd>(rest[0], rest[1]),
            ];
            for (q, column) in columns.into_iter().enumerate() {
                // SAFETY: row `8 j + 2 q + odd` of 32 words, of which the half `i` is written.
                unsafe { _mm512_storeu_si512(to.as_mut_ptr().add((8 * j + 2 * q + odd) * 32 + 16 * i).cast(), column) };
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
