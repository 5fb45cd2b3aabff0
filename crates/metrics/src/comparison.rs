//! Whether two models differ: tests of a difference, and many of them at once.

/// A difference of two numbers on the same rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// First minus second.
    pub value: f64,
    /// Its standard error; what the two share cancels out.
    pub standard_error: f64,
}

/// 0.975 quantile of the standard normal distribution.
const NORMAL_975: f64 = 1.959_963_984_540_054;

impl Difference {
    /// Chance of a difference at least as large, either way, if there is none: the normal approximation
    /// `2 Phi(-|value / standard_error|)`.
    ///
    /// Shares of resamples are not used: 1,000 of them cannot give a p-value below 0.002, which a correction for a hundred
    /// comparisons makes 0.2. Without any spread nothing can be said, so the p-value is 1.
    pub fn p_value(&self) -> f64 {
        if self.standard_error > 0.0 {
            return libm::erfc((self.value / self.standard_error).abs() / std::f64::consts::SQRT_2);
        }
        1.0
    }

    /// 95% interval, by the same approximation.
    pub fn interval(&self) -> (f64, f64) {
        let half = NORMAL_975 * self.standard_error;
        (self.value - half, self.value + half)
    }
}

/// Adjusts p-values so that the chance of a single false finding among all of them keeps its level (Holm 1979).
///
/// The k-th smallest of m becomes `max over j <= k of min(1, (m - j + 1) p_j)`; the order of the slice is kept.
///
/// ```
/// assert_eq!(clinpeft_metrics::holm(&[0.5, 0.01, 0.25]), [0.5, 0.03, 0.5]);
/// ```
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut least: f64 = 0.0;
    for (rank, i) in order.iter().enumerate() {
        least = least.max(((p_values.len() - rank) as f64 * p_values[*i]).min(1.0));
        adjusted[*i] = least;
    }
    adjusted
}
