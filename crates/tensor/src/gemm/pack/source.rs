//! What packing reads and makes.

use super::super::operand::MatrixView;
use half::{bf16, f16};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::ops::Range;

/// What a packed element is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitPart {
    /// One f32.
    Full,
    /// Two values rounded to bf16.
    High,
    /// Two values minus what they are when rounded to bf16, themselves rounded to bf16.
    Low,
}

impl SplitPart {
    /// Values of an element.
    pub const fn values(self) -> usize {
        match self {
            SplitPart::Full => 1,
            SplitPart::High | SplitPart::Low => 2,
        }
    }
}

/// Packed elements of a block of 32 by 32 values, two in each.
pub const TRANSPOSE_BLOCK: usize = 16 * 32;

/// Which elements of an operand a panel holds: `elements` of the rows or columns `first..first + count`, of `length` values each.
#[derive(Debug, Clone)]
pub struct Place {
    pub first: usize,
    pub count: usize,
    pub elements: Range<usize>,
    pub length: usize,
}

impl Place {
    /// Panics unless the operand holds these values, and `panel` `width` rows or columns of them.
    pub fn check<T: Copy>(&self, view: &MatrixView<'_, T>, part: SplitPart, width: usize, panel: &[u32]) {
        assert!(self.count <= width && panel.len() == self.elements.len() * width, "a panel of the right size");
        let length = (self.elements.end * part.values()).min(self.length);
        assert!(view.covers(self.first + self.count, length), "the operand is large enough");
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
    unsafe fn load(at: *const Self, count: usize) -> __m512;
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
            unsafe fn load(at: *const Self, count: usize) -> __m512 {
                let mask = if count >= 16 { u16::MAX } else { (1u16 << count) - 1 };
                // SAFETY: lanes that the mask leaves out are not read; the caller answers for the others.
                unsafe { $load(at, mask) }
            }
        }
    };
}

stored!(f32, |x| x, |at, mask| _mm512_maskz_loadu_ps(mask, at));
stored!(bf16, bf16::to_f32, |at: *const bf16, mask| {
    let bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, at.cast()));
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
});
stored!(f16, f16::to_f32, |at: *const f16, mask| _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, at.cast())));
