//! Named random streams from one root seed, and counter-based random numbers.
//!
//! - One root seed covers everything: each use of randomness has a *name* (`init`, `order`, `dropout`, `cohort`, ...), and
//!   the stream of a name does not depend on how much another stream was used.
//! - Streams are ChaCha8, so they are the same on every machine.
//! - [`philox`] gives random words by position instead of by sequence: the mask of a dropout is a function of
//!   (key, element), so recomputing a block, or computing it on another device, gives the same mask.
//!
//! ```
//! use clinpeft_rng::{Seed, Rng};
//! let seed = Seed(1234);
//! let a = seed.stream("init").next_u64();
//! assert_eq!(a, seed.stream("init").next_u64());
//! assert_ne!(a, seed.stream("order").next_u64());
//! ```

pub use rand::{Rng, RngExt, SeedableRng};
pub use rand_chacha::ChaCha8Rng as Stream;

/// The root seed of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream called `name`: always the same sequence for the same seed and name.
    pub fn stream(self, name: &str) -> Stream {
        Stream::from_seed(self.digest(name))
    }

    /// A seed of its own for the part called `name` (one per epoch, per patient, per adapter).
    pub fn part(self, name: &str) -> Seed {
        let d = self.digest(name);
        Seed(u64::from_le_bytes([d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]))
    }

    /// The key for counter-based numbers under `name`.
    pub fn key(self, name: &str) -> Key {
        let s = self.part(name).0;
        Key([s as u32, (s >> 32) as u32])
    }

    fn digest(self, name: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(name.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// Key of a counter-based generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u32; 2]);

/// Philox 4x32 with 10 rounds (Salmon et al. 2011): four random words for the counter `index`.
///
/// Plain integer arithmetic, so every device computes the same words.
pub fn philox(key: Key, index: u64) -> [u32; 4] {
    const M0: u64 = 0xD251_1F53;
    const M1: u64 = 0xCD9E_8D57;
    let [mut k0, mut k1] = key.0;
    let mut c = [index as u32, (index >> 32) as u32, 0, 0];
    for _ in 0..10 {
        let p0 = M0 * u64::from(c[0]);
        let p1 = M1 * u64::from(c[2]);
        c = [(p1 >> 32) as u32 ^ c[1] ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k1, p0 as u32];
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    c
}

/// A draw from the standard normal distribution (Box and Muller 1958; one of the pair is used).
pub fn normal(rng: &mut Stream) -> f64 {
    // 1 - u is in (0, 1], so the logarithm is finite.
    let u: f64 = 1.0 - rng.random::<f64>();
    let v: f64 = rng.random();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Shuffles in place (Fisher and Yates).
pub fn shuffle<T>(items: &mut [T], rng: &mut Stream) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.random_range(0..=i));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_equals_the_published_vectors() {
        // Known-answer tests of Random123 (kat_vectors, philox4x32-10).
        assert_eq!(philox(Key([0, 0]), 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    }

    #[test]
    fn streams_depend_on_name_and_seed_only() {
        let a: Vec<u64> = {
            let mut s = Seed(7).stream("order");
            (0..4).map(|_| s.next_u64()).collect()
        };
        let _ = Seed(7).stream("init").next_u64();
        let mut again = Seed(7).stream("order");
        assert!(a.iter().all(|x| *x == again.next_u64()));
        assert_ne!(a[0], Seed(8).stream("order").next_u64());
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let mut s = Seed(1).stream("n");
        let x: Vec<f64> = (0..20_000).map(|_| normal(&mut s)).collect();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let var = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64;
        assert!(mean.abs() < 0.03 && (var - 1.0).abs() < 0.05);
    }
}
