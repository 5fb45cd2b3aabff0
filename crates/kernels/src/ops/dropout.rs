//! Inverted dropout with a counter-based mask, the same on every device.
//!
//! ```text
//! y[i] = x[i] / (1 - p) if word(key, i) >= p * 2^32, else 0
//! ```

use crate::context::DeviceContext;
use crate::launch::{cube, units};
use clinpeft_tensor::rng::Key;
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Zeroes a share `rate` of the elements and scales the rest.
pub(crate) fn dropout<R: Runtime>(device: &DeviceContext<R>, x: &Tensor, rate: f64, key: Key) -> Result<Tensor> {
    let work = device.begin("dropout")?;
    let values = work.input(x)?;
    let (y, out) = work.output(x.dims())?;
    work.run(|compute| {
        let (grid, mask) = (units(x.count().div_ceil(4)), chances(rate, key));
        dropped::launch::<R>(compute, grid, cube(), values.array(), out.array(), mask);
    })?;
    Ok(y)
}

/// What decides who stays.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Chances {
    pub(crate) key0: u32,
    pub(crate) key1: u32,
    /// A word below drops its value.
    pub(crate) threshold: u32,
    /// What the others are multiplied with.
    pub(crate) keep: f32,
}

/// As on the CPU, to the bit.
pub(crate) fn chances<R: Runtime>(rate: f64, key: Key) -> ChancesLaunch<R> {
    let threshold = (rate * 4_294_967_296.0) as u32;
    ChancesLaunch::new(key.0[0], key.0[1], threshold, (1.0 / (1.0 - rate)) as f32)
}

/// A unit makes four words and uses them.
#[cube(launch)]
pub(crate) fn dropped(x: &Array<f32>, y: &mut Array<f32>, chances: Chances) {
    let first = ABSOLUTE_POS * 4;
    if first < y.len() {
        let words = philox(chances.key0, chances.key1, ABSOLUTE_POS as u32, 0);
        #[unroll]
        for j in 0..4 {
            if first + j < y.len() {
                let mut value = f32::new(0.0);
                if words[j] >= chances.threshold {
                    value = x[first + j] * chances.keep;
                }
                y[first + j] = value;
            }
        }
    }
}

/// Philox 4x32 with 10 rounds (Salmon et al. 2011), as `clinpeft_rng::philox` for the counter `high * 2^32 + low`.
#[cube]
pub(crate) fn philox(key0: u32, key1: u32, low: u32, high: u32) -> Array<u32> {
    let mut k0 = key0;
    let mut k1 = key1;
    let mut c0 = low;
    let mut c1 = high;
    let mut c2 = 0u32;
    let mut c3 = 0u32;
    // Literals are signed where the kernel is made; these are 0xD2511F53, 0xCD9E8D57, 0x9E3779B9 and 0xBB67AE85.
    let m0 = comptime!(0xD251_1F53u32).runtime();
    let m1 = comptime!(0xCD9E_8D57u32).runtime();
    #[unroll]
    for _round in 0..10 {
        let high0 = m0.mul_hi(c0);
        let low0 = m0 * c0;
        let high1 = m1.mul_hi(c2);
        let low1 = m1 * c2;
        c0 = high1 ^ c1 ^ k0;
        c2 = high0 ^ c3 ^ k1;
        c1 = low1;
        c3 = low0;
        k0 += comptime!(0x9E37_79B9u32);
        k1 += comptime!(0xBB67_AE85u32);
    }
    let mut words = Array::<u32>::new(4usize);
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
    words
}
