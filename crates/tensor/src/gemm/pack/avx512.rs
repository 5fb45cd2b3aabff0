//! Packing by AVX-512.
#![expect(unsafe_code, reason = "vector instructions")]
use super::super::operand::MatrixView;
use super::source::{Place, Stored, TRANSPOSE_BLOCK};
use std::arch::x86_64::*;

/// Bytes by which reading runs ahead: rows are as many streams as the processor hardly follows by itself.
const AHEAD: usize = 512;

/// # Safety
/// AVX-512; `place` lies inside the view, one of whose strides is 1, and `panel` holds `WIDTH` elements for each of its
/// elements.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn whole<S: Stored, const WIDTH: usize>(view: MatrixView<'_, S>, place: Place, panel: &mut [u32]) {
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
pub(super) unsafe fn pairs<S: Stored, const WIDTH: usize, const LOW: bool>(
    view: MatrixView<'_, S>,
    place: Place,
    panel: &mut [u32],
) {
    // SAFETY: as promised by the caller, and the closures are called with what `fill` promises.
    unsafe {
        fill::<S, WIDTH, 2>(
            view,
            place,
            panel,
            |at, left| pairs_along::<S, LOW>(at, left),
            |at, next, lanes| {
                let low = rounded_lanes::<LOW>(S::load(at, lanes));
                match next {
                    Some(next) => {
                        let high = rounded_lanes::<LOW>(S::load(next, lanes));
                        _mm512_or_si512(low, _mm512_slli_epi32::<16>(high))
                    }
                    None => low,
                }
            },
        );
    }
}

/// Sixteen elements of two values each, of `left` values that follow each other; what is missing is zero.
///
/// # Safety
/// `left` values are there; AVX512_BF16.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn pairs_along<S: Stored, const LOW: bool>(at: *const S, left: usize) -> __m512i {
    // SAFETY: values are read as far as the caller says; both types are 512 bits without invalid values.
    unsafe {
        let low = S::load(at, left);
        let high = if left > 16 { S::load(at.add(16), left - 16) } else { _mm512_setzero_ps() };
        let rounded = |l, h| std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(h, l));
        let elements = rounded(low, high);
        if !LOW {
            return elements;
        }
        let first = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(elements));
        let second = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(elements));
        let upcast = |x| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(x));
        rounded(_mm512_sub_ps(low, upcast(first)), _mm512_sub_ps(high, upcast(second)))
    }
}

/// Fills `panel` with the elements of `width` rows, sixteen of each row at a time.
///
/// # Safety
/// As [`pairs`]; the view lies by rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn rows<const LOW: bool>(view: MatrixView<'_, f32>, place: Place, width: usize, panel: &mut [u32]) {
    let (source, out) = (view.values.as_ptr(), panel.as_mut_ptr());
    for i in 0..width {
        let row = source.wrapping_add((place.first + i) * view.stride);
        for block in 0..place.elements.len() / 16 {
            let k = 2 * (place.elements.start + 16 * block);
            let left = if i < place.count { place.length.saturating_sub(k) } else { 0 };
            // SAFETY: values are read as far as the row goes; the panel holds sixteen elements of each row for each block.
            unsafe {
                let elements =
                    if left > 0 { pairs_along::<f32, LOW>(row.add(k), left) } else { _mm512_setzero_si512() };
                _mm512_storeu_si512(out.add((block * width + i) * 16).cast(), elements);
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
unsafe fn rounded_lanes<const LOW: bool>(x: __m512) -> __m512i {
    // SAFETY: both types are 256 bits without invalid values.
    let round = |x| unsafe { _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x))) };
    let rounded = round(x);
    if !LOW {
        return rounded;
    }
    round(_mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32::<16>(rounded))))
}

/// Walks over a panel in blocks of sixteen by sixteen elements. `along(at, left)` makes sixteen elements of one row from
/// `16 * VALUES` values of which `left` are there; `across(at, next, lanes)` makes one element of each of `lanes` columns
/// from one row of the source, and the next one where a element has two.
///
/// # Safety
/// As [`whole`].
#[inline(always)]
unsafe fn fill<S: Stored, const WIDTH: usize, const VALUES: usize>(
    view: MatrixView<'_, S>,
    place: Place,
    panel: &mut [u32],
    along: impl Fn(*const S, usize) -> __m512i,
    across: impl Fn(*const S, Option<*const S>, usize) -> __m512i,
) {
    let source = view.values.as_ptr();
    let out = panel.as_mut_ptr();
    let count = place.elements.len();
    const { assert!(WIDTH < 16 || WIDTH.is_multiple_of(16), "whole groups, or one that is not full") };
    for group in (0..WIDTH).step_by(16) {
        let lanes = place.count.saturating_sub(group).min(16);
        // A group that is not full writes over the beginning of the next element's, which comes later; but for the last.
        let store = |p: usize, elements: __m512i| {
            let to = out.wrapping_add(p * WIDTH + group).cast::<i32>();
            // SAFETY: element `p` of the panel begins at `p * WIDTH`, and whatever follows it, or the mask, is inside.
            unsafe {
                if WIDTH >= 16 || p * WIDTH + 16 <= count * WIDTH {
                    _mm512_storeu_si512(to.cast(), elements);
                } else {
                    _mm512_mask_storeu_epi32(to, ((1u32 << WIDTH.min(16)) - 1) as u16, elements);
                }
            }
        };
        // SAFETY: sources are touched for rows below `place.count` and values below `place.length` only.
        unsafe {
            if view.k_stride == 1 {
                for block in (0..count).step_by(16) {
                    let k = (place.elements.start + block) * VALUES;
                    let left = place.length.saturating_sub(k);
                    let mut rows = [_mm512_setzero_si512(); 16];
                    if left > 0 {
                        for (i, row) in rows.iter_mut().enumerate().take(lanes) {
                            let at = source.add((place.first + group + i) * view.stride + k);
                            _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(AHEAD));
                            *row = along(at, left);
                        }
                    }
                    let columns = transposed(rows);
                    let here = 16.min(count - block);
                    for (p, elements) in columns.iter().enumerate().take(here) {
                        store(block + p, *elements);
                    }
                }
            } else {
                for p in 0..count {
                    let k = (place.elements.start + p) * VALUES;
                    let mut elements = _mm512_setzero_si512();
                    if k < place.length && lanes > 0 {
                        let at = source.add(k * view.k_stride + place.first + group);
                        let next = (VALUES == 2 && k + 1 < place.length).then(|| at.add(view.k_stride));
                        elements = across(at, next, lanes);
                    }
                    store(p, elements);
                }
            }
        }
    }
}

/// Transposes a block; see `transpose_block` of the module above.
///
/// # Safety
/// AVX-512.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn transpose_block(from: &[u32; TRANSPOSE_BLOCK], to: &mut [u32; TRANSPOSE_BLOCK]) {
    // Two neighbours are 64 bits; their halves (a, A, b, B) become (a, b, A, B), and then rows of pairs become columns.
    let halves = _mm512_set4_epi32(0x0f0e_0b0a, 0x0d0c_0908, 0x0706_0302, 0x0504_0100);
    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut r = [_mm512_setzero_si512(); 8];
        for (p, r) in r.iter_mut().enumerate() {
            // SAFETY: row `8 i + p` of 32 elements, of which the half `j` is read.
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
                // SAFETY: row `8 j + 2 q + odd` of 32 elements, of which the half `i` is written.
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
