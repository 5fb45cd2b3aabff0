//! AdamW (Loshchilov & Hutter 2019, algorithm 2; as in PyTorch, decay before the step).
//!
//! ```text
//! p -= lr * wd * p
//! m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g^2
//! p -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//! ```
//! All three are read and written in one pass. They become new tensors, so that whoever holds the old ones, as the best epoch
//! does, keeps them.

use crate::client::Client;
use crate::work::{cube, units};
use clinpeft_tensor::ops::AdamW;
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Updates `[parameter, m, v]`.
pub(crate) fn adamw<R: Runtime>(
    device: &Client<R>,
    state: [&mut Tensor; 3],
    gradient: &Tensor,
    step: &AdamW,
) -> Result<()> {
    let [p, m, v] = state;
    let work = device.begin("adamw")?;
    let (ps, ms, vs, g) = (work.input(p)?, work.input(m)?, work.input(v)?, work.input(gradient)?);
    let (new_p, p_out) = work.output(p.dims())?;
    let ((new_m, m_out), (new_v, v_out)) = (work.output(p.dims())?, work.output(p.dims())?);
    let t = step.step as f64;
    work.run(|compute| {
        let (grid, old, new) =
            (units(p.count()), (ps.array(), ms.array(), vs.array()), (p_out.array(), m_out.array(), v_out.array()));
        let rates = RatesLaunch::new(
            step.beta1 as f32,
            step.beta2 as f32,
            (1.0 - step.beta1) as f32,
            (1.0 - step.beta2) as f32,
            (1.0 - step.learning_rate * step.weight_decay) as f32,
            (step.learning_rate / (1.0 - step.beta1.powf(t))) as f32,
            (1.0 - step.beta2.powf(t)).sqrt() as f32,
            step.eps as f32,
        );
        update::launch::<R>(compute, grid, cube(), g.array(), old.0, old.1, old.2, new.0, new.1, new.2, rates);
    })?;
    (*p, *m, *v) = (new_p, new_m, new_v);
    Ok(())
}

/// The numbers of a step, made in f64.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Rates {
    beta1: f32,
    beta2: f32,
    new1: f32,
    new2: f32,
    decay: f32,
    size: f32,
    root: f32,
    eps: f32,
}

#[cube(launch)]
#[expect(clippy::too_many_arguments, reason = "a gradient, three states before, three after")]
pub(crate) fn update(
    g: &Array<f32>,
    p: &Array<f32>,
    m: &Array<f32>,
    v: &Array<f32>,
    new_p: &mut Array<f32>,
    new_m: &mut Array<f32>,
    new_v: &mut Array<f32>,
    rates: Rates,
) {
    if ABSOLUTE_POS < new_p.len() {
        let g = g[ABSOLUTE_POS];
        let first = rates.beta1 * m[ABSOLUTE_POS] + rates.new1 * g;
        let second = rates.beta2 * v[ABSOLUTE_POS] + rates.new2 * (g * g);
        new_m[ABSOLUTE_POS] = first;
        new_v[ABSOLUTE_POS] = second;
        new_p[ABSOLUTE_POS] =
            p[ABSOLUTE_POS] * rates.decay - rates.size * first / (second.sqrt() / rates.root + rates.eps);
    }
}
