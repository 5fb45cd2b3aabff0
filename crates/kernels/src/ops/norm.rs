//! Euclidean (Frobenius) norm of all elements.
//!
//! ```text
//! y = sqrt(sum x^2)
//! ```

use crate::client::Client;
use crate::map::element;
use crate::map::{Beside, Map};
use crate::reduce::{Term, total};
use crate::work::{cube, grid};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

pub(crate) struct Root;

#[cube]
impl Map for Root {
    fn at(a: f32, _b: f32, _number: f32) -> f32 {
        a.sqrt()
    }
}

/// Returns the norm, `[1]`.
pub(crate) fn norm<R: Runtime>(device: &Client<R>, x: &Tensor) -> Result<Tensor> {
    let work = device.begin("norm")?;
    let squares = total(&work, &work.input(x)?, Term::Square)?;
    let (y, out) = work.output(&[1])?;
    work.run(|compute| {
        let (a, b) = (squares.array(), squares.array());
        element::launch::<Root, R>(compute, grid(1), cube(), a, b, out.array(), 1, 0.0, Beside::Same);
    })?;
    Ok(y)
}
