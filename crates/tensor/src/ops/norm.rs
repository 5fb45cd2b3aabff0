//! Euclidean (Frobenius) norm of all elements.
//!
//! ```text
//! y = sqrt(sum x^2)        dx = g * x / y, and 0 where y = 0        x: any shape    y: [1]
//! ```

use super::by_float;
use crate::real::dot;
use crate::{Device, Result, Tensor};

/// Returns the norm, `[1]`.
pub fn norm(x: &Tensor) -> Result<Tensor> {
    match x.device() {
        Device::Other(backend) => backend.norm(x),
        Device::Cpu => by_float!("norm", x, T => {
            let values = x.as_slice::<T>()?;
            Tensor::from_vec(vec![<T as crate::real::Real>::sqrt(dot(values, values))], &[1])
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_and_four_make_five() {
        let x = Tensor::from_vec(vec![3.0f32, 0.0, -4.0], &[1, 3]).unwrap();
        assert_eq!(norm(&x).unwrap().item().unwrap(), 5.0);
    }
}
