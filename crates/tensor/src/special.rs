//! The exponential in f32, and the error function `erf(x) = 2 / sqrt(pi) * integral of exp(-t^2) from 0 to x`.

/// e to the power of `value`, without a branch, so that a loop over it vectorises: range reduction by ln 2 in two parts and a polynomial of degree 6 (error below 2 units in the last place).
#[inline(always)]
pub fn exp32(value: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and taking away 1.5 * 2^23 rounds to the nearest integer without a library call.
    const ROUND: f32 = 12_582_912.0;
    let x = value.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let p =
        1.0 + r * (1.0 + r * (0.5 + r * (0.166_666_67 + r * (0.041_666_67 + r * (0.008_333_334 + r * 0.001_388_889)))));
    // The low bits of the shifted value are the integer n in two's complement.
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let y = p * power;
    let y = if value < -87.0 { 0.0 } else { y };
    // `clamp` keeps NaN, so a NaN comes out as NaN.
    if value > 88.0 { f32::INFINITY } else { y }
}

/// Where the series ends and the continued fraction begins.
const FAR: f64 = 3.0;

/// To the last places of f64: all terms of the series are positive (DLMF 7.6.2), and far out the complement is a
/// continued fraction (DLMF 7.9.4).
///
/// ```text
/// near:  erf(x) = 2 / sqrt(pi) * exp(-x^2) * sum over n of 2^n x^(2n+1) / (1 * 3 * ... * (2n+1))
/// far:   1 - erf(x) = exp(-x^2) / sqrt(pi) / (x + (1/2) / (x + 1 / (x + (3/2) / (x + ...))))
/// ```
pub fn erf64(x: f64) -> f64 {
    let size = x.abs();
    let gauss = (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI;
    if x.is_nan() {
        return x;
    }
    if size < FAR {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while sum + term != sum {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        return gauss * sum;
    }
    let fraction = (1..=60).rev().fold(size, |below, k| size + 0.5 * f64::from(k) / below);
    (1.0 - 0.5 * gauss / fraction).copysign(x)
}

/// Chebyshev fit of `erf(x) / x - 1` as a polynomial in `x^2`, for `|x| <= 1`.
const NEAR: [f32; 7] =
    [1.2837917e-1, -3.7612626e-1, 1.1283597e-1, -2.6854329e-2, 5.189312e-3, -8.018855e-4, 7.8824974e-5];

/// Chebyshev fit of `ln(1 - erf(x))` as a polynomial in `x - 1`, for x from 1 to 4.
const LOG_COMPLEMENT: [f32; 10] = [
    -1.8496056,
    -2.638968,
    -8.431017e-1,
    -4.1587733e-2,
    1.0100299e-2,
    -2.0774272e-3,
    3.3399212e-4,
    -3.767699e-5,
    2.5027477e-6,
    -6.582861e-8,
];

/// To 1e-7, without a branch, so that a loop over it vectorises. Both fits are ours, against `erf64`.
#[inline(always)]
pub fn erf32(x: f32) -> f32 {
    let size = x.abs();
    let near = x + x * polynomial(&NEAR, x * x);
    // Behind 4 the complement is below half a unit in the last place of 1. `min` takes the 4 where x is NaN.
    let far = 1.0 - exp32(polynomial(&LOG_COMPLEMENT, size.min(4.0) - 1.0));
    let y = if size > 1.0 { far.copysign(x) } else { near };
    if x.is_nan() { x } else { y }
}

#[inline(always)]
fn polynomial<const N: usize>(coefficients: &[f32; N], x: f32) -> f32 {
    let mut y = 0.0;
    for c in coefficients.iter().rev() {
        y = y * x + c;
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Abramowitz & Stegun, table 7.1, to ten places.
    const TABLE: [(f64, f64); 6] = [
        (0.0, 0.0),
        (0.02, 0.022_564_574_7),
        (0.5, 0.520_499_877_8),
        (1.0, 0.842_700_792_9),
        (1.5, 0.966_105_146_5),
        (2.0, 0.995_322_265_0),
    ];

    #[test]
    fn error_function_has_its_tabulated_values() {
        for (x, want) in TABLE {
            assert!((erf64(x) - want).abs() < 6e-11 && (erf64(-x) + want).abs() < 6e-11, "{x}");
        }
        assert_eq!((erf64(f64::INFINITY), erf64(f64::NEG_INFINITY)), (1.0, -1.0));
        assert!(erf64(f64::NAN).is_nan() && erf32(f32::NAN).is_nan());
    }

    #[test]
    fn series_and_continued_fraction_meet() {
        let (below, above) = (erf64(FAR - 1e-9), erf64(FAR));
        let slope = std::f64::consts::FRAC_2_SQRT_PI * (-FAR * FAR).exp();
        assert!((above - below - 1e-9 * slope).abs() < 1e-15, "{}", above - below);
    }

    #[test]
    fn fast_error_function_is_close_to_the_exact_one() {
        let worst = (-60_000..=60_000)
            .map(|i| i as f32 * 1e-4)
            .map(|x| (f64::from(erf32(x)) - erf64(f64::from(x))).abs())
            .fold(0.0, f64::max);
        assert!(worst < 1e-7, "{worst}");
        assert_eq!((erf32(f32::INFINITY), erf32(f32::NEG_INFINITY)), (1.0, -1.0));
    }
}
