//! Values stored in 16 bits, two in a word of 32, the first one in the low half. No device needs a type of 16 bits for it.

use crate::context::DeviceContext;
use crate::launch::{Launch, Operand, cube, units};
use clinpeft_tensor::{DType, Error, Result, Tensor};
use cubecl::prelude::*;

/// How 16 bits make a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Half {
    /// bfloat16: the upper half of an f32.
    Bf16,
    /// IEEE half.
    F16,
}

impl Half {
    /// `None` for what is not stored in 16 bits.
    pub(crate) fn of(dtype: DType) -> Option<Half> {
        match dtype {
            DType::Bf16 => Some(Half::Bf16),
            DType::F16 => Some(Half::F16),
            _ => None,
        }
    }
}

/// The tensor in another float type of 32 or 16 bits, rounded half to even where that is narrower.
pub(crate) fn cast<R: Runtime>(device: &DeviceContext<R>, tensor: &Tensor, dtype: DType) -> Result<Tensor> {
    let work = device.begin("cast")?;
    let values = work.stored(tensor)?;
    let cast = match dtype {
        DType::F32 => upcast(&work, &values)?,
        DType::Bf16 | DType::F16 => to_half(&work, &values, dtype)?,
        got => {
            return Err(Error::DType {
                op: "cast",
                expected: format!("floats of 32 or 16 bits on `{}`", device.name()),
                got,
            });
        }
    };
    Ok(work.made(&cast, tensor.dims()))
}

/// The values in f32: themselves if they are stored so.
pub(crate) fn upcast<R: Runtime>(work: &Launch<'_, R>, values: &Operand) -> Result<Operand> {
    let Some(half) = Half::of(values.dtype()) else {
        return Ok(values.clone());
    };
    let wide = work.scratch(&[values.count()])?;
    work.run(|compute| {
        unpack::launch::<R>(compute, units(values.count()), cube(), values.array(), wide.array(), half);
    })?;
    Ok(wide)
}

#[cube(launch)]
pub(crate) fn unpack(words: &Array<u32>, wide: &mut Array<f32>, #[comptime] half: Half) {
    if ABSOLUTE_POS < wide.len() {
        wide[ABSOLUTE_POS] = unpack_at(words, ABSOLUTE_POS, half);
    }
}

/// The values rounded to `dtype`, of 16 bits, half to even: themselves if they are stored so.
pub(crate) fn to_half<R: Runtime>(work: &Launch<'_, R>, values: &Operand, dtype: DType) -> Result<Operand> {
    let Some(half) = Half::of(dtype).filter(|_| values.dtype() != dtype) else {
        return Ok(values.clone());
    };
    let wide = upcast(work, values)?;
    let short = work.scratch_of(&[values.count()], dtype)?;
    work.run(|compute| {
        let grid = units(values.count().div_ceil(2));
        pack::launch::<R>(compute, grid, cube(), wide.array(), short.array(), half);
    })?;
    Ok(short)
}

#[cube(launch)]
pub(crate) fn pack(values: &Array<f32>, words: &mut Array<u32>, #[comptime] half: Half) {
    if ABSOLUTE_POS < words.len() {
        let first = ABSOLUTE_POS * 2;
        let mut word = bits(values[first], half);
        if first + 1 < values.len() {
            word |= bits(values[first + 1], half) << 16;
        }
        words[ABSOLUTE_POS] = word;
    }
}

/// The 16 bits of a value, rounded.
#[cube]
fn bits(value: f32, #[comptime] half: Half) -> u32 {
    let mut bits = upper_half(value);
    if comptime!(half == Half::F16) {
        bits = ieee_half(value);
    }
    bits
}

/// The bits of a value rounded to IEEE half.
#[cube]
fn ieee_half(value: f32) -> u32 {
    let all = u32::reinterpret(value);
    let size = all & 0x7fff_ffff;
    // Thirteen bits of the fraction go; 112 is the distance of the two exponents' zeros.
    let mut half = ((size + 0xfff + ((size >> 13) & 1)) >> 13) - (112u32 << 10);
    if size < 0x3880_0000 {
        // Below 2^-14 a half is a multiple of 2^-24, which is the distance of neighbours above one half.
        half = u32::reinterpret(f32::reinterpret(size) + 0.5) - 0x3f00_0000;
    }
    if size >= 0x4780_0000 {
        half = 0x7c00;
    }
    if size > 0x7f80_0000 {
        half = 0x7e00;
    }
    half | ((all >> 16) & 0x8000)
}

/// The bits of a value rounded to bf16.
#[cube]
fn upper_half(value: f32) -> u32 {
    let bits = u32::reinterpret(value);
    let mut half = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    if (bits & 0x7fff_ffff) > 0x7f80_0000 {
        // What is not a number stays so, whichever bits it loses.
        half = (bits >> 16) | 0x40;
    }
    half
}

/// Value number `at`, exactly.
#[cube]
pub(crate) fn unpack_at(words: &Array<u32>, at: usize, #[comptime] half: Half) -> f32 {
    let word = words[at / 2];
    let mut bits = word & 0xffff;
    if at % 2 == 1 {
        bits = word >> 16;
    }
    let mut value = f32::reinterpret(bits << 16);
    if comptime!(half == Half::F16) {
        let sign = (bits & 0x8000) << 16;
        let (exponent, fraction) = ((bits >> 10) & 31, bits & 1023);
        // 112 is the distance of the two exponents' zeros.
        let mut wide = sign | ((exponent + 112) << 23) | (fraction << 13);
        if exponent == 31 {
            wide = sign | 0x7f80_0000 | (fraction << 13);
        }
        value = f32::reinterpret(wide);
        if exponent == 0 {
            // Subnormal: a multiple of 2^-24, which a device that flushes its own subnormals keeps.
            value = f32::cast_from(fraction) * 5.960_464_5e-8;
            if sign != 0 {
                value = 0.0 - value;
            }
        }
    }
    value
}

#[cfg(test)]
#[cfg(feature = "vulkan")]
mod tests {
    use super::*;
    use clinpeft_tensor::Tensor;

    #[test]
    fn values_are_rounded_half_to_even() {
        let (_alone, device) = crate::vulkan::tests::alone();
        // Every upper half, above each of these lower ones: exact, below a half, a half, above it, for both types. And an odd
        // one out.
        let lower = [0u32, 0xfff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001];
        let all = (0..=0xffff_u32).flat_map(|upper| lower.map(|low| f32::from_bits(upper << 16 | low)));
        // A device may flush what is subnormal in f32.
        let mut all: Vec<f32> = all.filter(|v| v.is_normal() || *v == 0.0 || v.is_nan()).collect();
        all.truncate(all.len() / 2 * 2);
        all.push(1.0);
        let values = device.upload(&Tensor::from_vec(all.clone(), &[all.len()]).unwrap()).unwrap();
        for dtype in [DType::Bf16, DType::F16] {
            let short = cast(&device, &values, dtype).unwrap();
            assert_eq!((short.dtype(), short.dims()), (dtype, values.dims()));
            let wide = cast(&device, &short, DType::F32).unwrap();
            let got = wide.to_f64_vec().unwrap();
            assert!(all.len() % 2 == 1 && got.len() == all.len());
            for (got, value) in got.iter().zip(&all) {
                let want = match dtype {
                    DType::Bf16 => half::bf16::from_f32(*value).to_f64(),
                    _ => half::f16::from_f32(*value).to_f64(),
                };
                assert!(*got == want || (got.is_nan() && want.is_nan()), "{dtype:?} {value:e}: {got:e}");
            }
        }
    }
}
