//! The suite that every backend must pass: each operation, with operands in f32, bf16 and f16, against the CPU in f64.
//!
//! A backend's test is one line: `conformance::check(&device, &[])` and an assertion on the outcomes. A new
//! operation adds its cases to [`cases`]; every backend then owes them.

use crate::ops::{self, AttentionDropout, AttentionShape, CuSeqlens, Direction, Layout, Mask};
use crate::{DType, Device, Error, Result, Tensor};
use clinpeft_rng::{Key, Seed, normal};

/// What became of one case.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Name of the operation, as its file is called.
    pub op: &'static str,
    /// Which case of it.
    pub case: String,
    /// How the operands are stored.
    pub stored: DType,
    /// Largest difference from the oracle, relative to the oracle's largest value.
    pub error: f64,
    /// Largest difference that is accepted.
    pub tolerance: f64,
    /// What the backend said, if it failed.
    pub failure: Option<String>,
}

impl Outcome {
    /// True if the device agrees with the oracle.
    pub fn passed(&self) -> bool {
        self.failure.is_none() && self.error <= self.tolerance
    }
}

type Body = dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>;

/// Operands of a case and how to run it.
pub struct Case {
    op: &'static str,
    name: String,
    inputs: Vec<Tensor>,
    run: Box<Body>,
}

/// Runs the cases of `only` (all if empty) on `device`, once for each type in which operands may be stored.
pub fn check(device: &Device, only: &[&str]) -> Vec<Outcome> {
    let cases = cases().into_iter().filter(|c| only.is_empty() || only.contains(&c.op));
    let each = |c: Case| [DType::F32, DType::Bf16, DType::F16].map(|stored| outcome(device, &c, stored));
    cases.flat_map(each).collect()
}

/// The tolerance is that of f32 whatever is stored: the oracle reads the same values.
fn outcome(device: &Device, case: &Case, stored: DType) -> Outcome {
    let (error, failure) = match compare(device, case, stored) {
        Ok(error) => (error, None),
        Err(e) => (f64::NAN, Some(e.to_string())),
    };
    Outcome { op: case.op, case: case.name.clone(), stored, error, tolerance: 2e-5, failure }
}

fn compare(device: &Device, case: &Case, stored: DType) -> Result<f64> {
    let inputs: Vec<Tensor> = case.inputs.iter().map(|t| as_float(t, stored)).collect::<Result<_>>()?;
    let oracle: Vec<Tensor> = inputs.iter().map(|t| as_float(t, DType::F64)).collect::<Result<_>>()?;
    let want = (case.run)(&oracle)?;
    let here: Vec<Tensor> = inputs.iter().map(|t| t.to_device(device)).collect::<Result<_>>()?;
    let got = (case.run)(&here)?;
    let mut worst = 0f64;
    for (got, want) in got.iter().zip(&want) {
        if got.device() != *device || got.dims() != want.dims() {
            return Err(Error::Backend { device: device.name(), what: format!("{got:?} in place of {want:?}") });
        }
        let (got, want) = (got.to_f64_vec()?, want.to_f64_vec()?);
        let scale = want.iter().filter(|x| x.is_finite()).fold(1e-30f64, |m, x| m.max(x.abs()));
        for (g, w) in got.iter().zip(&want) {
            let same = g == w || (g.is_nan() && w.is_nan());
            worst = worst.max(if same { 0.0 } else { (g - w).abs() / scale });
            if worst.is_nan() {
                return Ok(f64::INFINITY);
            }
        }
    }
    Ok(worst)
}

fn as_float(t: &Tensor, dtype: DType) -> Result<Tensor> {
    if t.dtype() == DType::U32 { Ok(t.clone()) } else { t.cast(dtype) }
}

/// Random operand, rounded to f32 so that oracle and device start from the same numbers.
fn operand(name: &str, dims: &[usize]) -> Tensor {
    let mut s = Seed(11).stream(&format!("{name}{dims:?}"));
    let n = dims.iter().product();
    let values = (0..n).map(|_| f64::from(normal(&mut s) as f32)).collect();
    Tensor::from_vec(values, dims).expect("as many values as places")
}

fn ids(values: &[u32]) -> Tensor {
    Tensor::from_vec(values.to_vec(), &[values.len()]).expect("as many values as places")
}

type Run = fn(&[Tensor]) -> Result<Vec<Tensor>>;

/// All cases: odd sizes, size one, long rows, every layout.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(matmul_cases());
    // A large eps keeps the gradient of a single element well conditioned.
    for (t, d) in [(1, 1), (5, 7), (37, 300), (3, 1025)] {
        all.push(case("rms_norm", format!("{t}x{d}"), vec![operand("x", &[t, d]), operand("w", &[d])], |i| {
            let (y, inv) = ops::rms_norm(&i[0], &i[1], 0.1)?;
            Ok(vec![y, inv])
        }));
        let inputs = vec![operand("g", &[t, d]), operand("x", &[t, d]), operand("w", &[d])];
        all.push(case("rms_norm", format!("backward {t}x{d}"), inputs, |i| {
            let (_, inv) = ops::rms_norm(&i[1], &i[2], 0.1)?;
            let (dx, dw) = ops::rms_norm_backward(&i[0], &i[1], &i[2], &inv)?;
            Ok(vec![dx, dw])
        }));
        all.push(case("silu_mul", format!("{t}x{d}"), vec![operand("g", &[t, d]), operand("u", &[t, d])], |i| {
            Ok(vec![ops::silu_mul(&i[0], &i[1])?])
        }));
        let inputs = vec![operand("o", &[t, d]), operand("g", &[t, d]), operand("u", &[t, d])];
        all.push(case("silu_mul", format!("backward {t}x{d}"), inputs, |i| {
            let (a, b) = ops::silu_mul_backward(&i[0], i[1].clone(), i[2].clone())?;
            Ok(vec![a, b])
        }));
        all.push(case("elementwise", format!("{t}x{d}"), vec![operand("a", &[t, d]), operand("b", &[t, d])], |i| {
            Ok(vec![ops::add(&i[0], &i[1])?, ops::mul(&i[0], &i[1])?, ops::scale(&i[0], 0.3)?])
        }));
        all.extend(small_cases(t, d));
        all.push(case("dropout", format!("{t}x{d}"), vec![operand("a", &[t, d])], |i| {
            Ok(vec![ops::dropout(&i[0], 0.3, Key([5, 6]))?])
        }));
    }
    all.extend(row_cases());
    all.extend(lstm_cases());
    all.extend(attention_cases());
    all
}

/// Operations whose whole test is two operands.
fn small_cases(t: usize, d: usize) -> Vec<Case> {
    let size = format!("{t}x{d}");
    let pair = || vec![operand("a", &[t, d]), operand("b", &[t, d])];
    let with_row = vec![operand("a", &[t, d]), operand("w", &[d])];
    vec![
        case("rowwise", size.clone(), with_row, |i| {
            let x = ops::add_row(&i[0], &i[1])?;
            Ok(vec![ops::sum_rows(&x)?, ops::mul_row(&x, &i[1])?, x])
        }),
        case("tanh", size.clone(), pair(), |i| {
            let y = ops::tanh(&i[0])?;
            Ok(vec![ops::tanh_backward(&i[1], &y)?, y])
        }),
        case("relu", size.clone(), pair(), |i| {
            let y = ops::relu(&i[0])?;
            Ok(vec![ops::relu_backward(&i[1], &y)?, y])
        }),
        case("gelu", size.clone(), pair(), |i| Ok(vec![ops::gelu(&i[0])?, ops::gelu_backward(&i[1], &i[0])?])),
        case("norm", size.clone(), pair(), |i| {
            let y = ops::norm(&i[0])?;
            let g = ops::scale(&y, 0.3)?;
            Ok(vec![ops::norm_backward(&g, &i[1], &y)?, y])
        }),
        case("inverse_sqrt", size, pair(), |i| {
            // Some are below zero.
            let y = ops::inverse_sqrt(&ops::add(&ops::mul(&i[0], &i[0])?, &ops::scale(&i[0], 0.1)?)?)?;
            Ok(vec![ops::inverse_sqrt_backward(&i[1], &y)?, y])
        }),
        layer_norm_case(t, d),
    ]
}

fn layer_norm_case(t: usize, d: usize) -> Case {
    let inputs = vec![operand("x", &[t, d]), operand("w", &[d]), operand("b", &[d]), operand("g", &[t, d])];
    // A large eps keeps the gradient of a single element well conditioned.
    case("layer_norm", format!("{t}x{d}"), inputs, |i| {
        let (y, moments) = ops::layer_norm(&i[0], &i[1], &i[2], 0.1)?;
        let (dx, dw, db) = ops::layer_norm_backward(&i[3], &i[0], &i[1], &moments)?;
        Ok(vec![y, moments, dx, dw, db])
    })
}

fn lstm_cases() -> Vec<Case> {
    let one = |n: usize, e: usize| {
        let inputs = vec![operand("x", &[n, 4 * e]), operand("u", &[4 * e, e]), operand("g", &[n, e])];
        case("lstm", format!("{n} steps of {e}"), inputs, |i| {
            let (h, gates, c) = ops::lstm(&i[0], &i[1])?;
            let (dx, du) = ops::lstm_backward(&i[2], [&i[1], &h, &gates, &c])?;
            Ok(vec![h, gates, c, dx, du])
        })
    };
    vec![one(1, 1), one(5, 3), one(20, 17)]
}

fn case(op: &'static str, name: String, inputs: Vec<Tensor>, run: Run) -> Case {
    Case { op, name, inputs, run: Box::new(run) }
}

fn matmul_cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (m, k, n) in [(1, 1, 1), (5, 7, 3), (37, 101, 53), (64, 64, 64), (130, 16, 70)] {
        let runs: [(&str, [usize; 2], [usize; 2], Run); 3] = [
            ("normal", [m, k], [k, n], |i| Ok(vec![ops::matmul(&i[0], &i[1], Layout::Normal)?])),
            ("right transposed", [m, k], [n, k], |i| Ok(vec![ops::matmul(&i[0], &i[1], Layout::RightTransposed)?])),
            ("left transposed", [k, m], [k, n], |i| Ok(vec![ops::matmul(&i[0], &i[1], Layout::LeftTransposed)?])),
        ];
        for (name, a, b, run) in runs {
            all.push(case("matmul", format!("{name} {m}x{k}x{n}"), vec![operand("a", &a), operand("b", &b)], run));
        }
        let batch = vec![operand("a", &[3, m, k]), operand("b", &[3, n, k])];
        all.push(case("matmul", format!("batch of 3, {m}x{k}x{n}"), batch, |i| {
            Ok(vec![ops::matmul(&i[0], &i[1], Layout::RightTransposed)?])
        }));
        let inputs =
            vec![operand("base", &[m, n]), operand("x", &[m, k]), operand("A", &[4, k]), operand("B", &[n, 4])];
        all.push(case("low_rank", format!("{m}x{k}x{n}"), inputs, |i| {
            let (y, u) = ops::low_rank(&i[0], &i[1], &i[2], &i[3], 2.0)?;
            Ok(vec![y, u])
        }));
    }
    all
}

fn row_cases() -> Vec<Case> {
    let weights = Tensor::from_vec(vec![1.0, 0.0, 0.5, 2.0, 1.0], &[5]).expect("five values");
    let targets = ids(&[0, 6, 3, 3, 1]);
    let angles = |f: fn(f64) -> f64| {
        let values: Vec<f64> = (0..12).map(|i| f64::from(f(f64::from(i) * 0.37) as f32)).collect();
        Tensor::from_vec(values, &[4, 3]).expect("twelve values")
    };
    let turned = vec![operand("x", &[5, 12]), angles(f64::cos), angles(f64::sin), ids(&[0, 3, 1, 1, 2])];
    let binary = Tensor::from_vec((0..35).map(|i| f64::from(i % 2)).collect(), &[5, 7]).expect("35 values");
    vec![
        case("rotary", "forward".into(), turned.clone(), |i| {
            Ok(vec![ops::rotary(&i[0], &i[1], &i[2], &i[3], Direction::Forward)?])
        }),
        case("rotary", "inverse".into(), turned, |i| {
            Ok(vec![ops::rotary(&i[0], &i[1], &i[2], &i[3], Direction::Inverse)?])
        }),
        case("embedding", "forward".into(), vec![operand("table", &[7, 9]), targets.clone()], |i| {
            Ok(vec![ops::embedding(&i[0], &i[1])?])
        }),
        case("embedding", "backward".into(), vec![operand("g", &[5, 9]), targets.clone()], |i| {
            Ok(vec![ops::embedding_backward(&i[0], &i[1], 7)?])
        }),
        case("cross_entropy", "logits".into(), vec![operand("z", &[5, 7]), targets.clone(), weights.clone()], |i| {
            let (l, dz) = ops::cross_entropy(&i[0], &i[1], &i[2])?;
            Ok(vec![l, dz])
        }),
        case(
            "cross_entropy",
            "with head".into(),
            vec![operand("x", &[5, 4]), operand("head", &[7, 4]), targets, weights],
            |i| {
                let (l, dx, dh) = ops::linear_cross_entropy(&i[0], &i[1], &i[2], &i[3], [true, true])?;
                Ok([Some(l), dx, dh].into_iter().flatten().collect())
            },
        ),
        case("concat", "and cut".into(), vec![operand("a", &[3, 5]), operand("b", &[4, 5])], |i| {
            let y = ops::concat(&i[0], &i[1])?;
            let (a, b) = ops::cut(&y, 2)?;
            Ok(vec![y, a, b])
        }),
        case("bce_with_logits", "5x7".into(), vec![operand("z", &[5, 7]), binary], |i| {
            let (l, dz) = ops::bce_with_logits(&i[0], &i[1])?;
            Ok(vec![l, dz])
        }),
    ]
}

fn attention_cases() -> Vec<Case> {
    let mut all = Vec::new();
    let some = Some(AttentionDropout { rate: 0.3, key: Key([7, 8]) });
    for (mask, dropout, queries, keys) in [
        (Mask::Causal, None, vec![0, 1, 1, 70], vec![0, 1, 1, 70]),
        (Mask::Full, None, vec![0, 9, 20], vec![0, 9, 20]),
        (Mask::Causal, None, vec![0, 5, 12], vec![0, 8, 18]),
        // The first two queries of the second sequence see no key.
        (Mask::Causal, None, vec![0, 5, 12], vec![0, 8, 13]),
        (Mask::Full, some, vec![0, 9, 40], vec![0, 9, 40]),
        // Windows of less than a tile, of more than one, before a prefix, and beyond a whole sequence.
        (Mask::SlidingWindow(3), None, vec![0, 1, 1, 70], vec![0, 1, 1, 70]),
        (Mask::SlidingWindow(21), some, vec![0, 9, 80], vec![0, 9, 80]),
        (Mask::SlidingWindow(4), None, vec![0, 5, 12], vec![0, 8, 18]),
        (Mask::SlidingWindow(2), None, vec![0, 5, 12], vec![0, 8, 13]),
    ] {
        for (heads, kv_heads) in [(4, 2), (3, 1), (2, 2)] {
            let shape = AttentionShape { heads, kv_heads, head_width: 8, scale: 0.35, mask, dropout };
            let cu_seqlens = CuSeqlens { queries: queries.clone(), keys: keys.clone() };
            let (tq, tk) = (*queries.last().expect("not empty"), *keys.last().expect("not empty"));
            let inputs = vec![
                operand("q", &[tq, heads * 8]),
                operand("k", &[tk, kv_heads * 8]),
                operand("v", &[tk, kv_heads * 8]),
                operand("g", &[tq, heads * 8]),
            ];
            let run = move |i: &[Tensor]| {
                let (o, lse) = ops::attention(&i[0], &i[1], &i[2], &shape, &cu_seqlens)?;
                let saved = [&i[0], &i[1], &i[2], &o, &lse];
                let (dq, dk, dv) = ops::attention_backward(&i[3], saved, &shape, &cu_seqlens)?;
                Ok(vec![o, lse, dq, dk, dv])
            };
            let dropped = if dropout.is_some() { ", dropout" } else { "" };
            let name = format!("{mask:?} {heads} heads on {kv_heads}, {tq} queries, {tk} keys{dropped}");
            all.push(Case { op: "attention", name, inputs, run: Box::new(run) });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_agrees_with_the_oracle() {
        let outcomes = check(&Device::Cpu, &[]);
        let bad: Vec<_> = outcomes.iter().filter(|o| !o.passed()).collect();
        assert!(outcomes.len() > 150 && bad.is_empty(), "{bad:#?}");
    }
}
