//! Matrix products with a weight stored `[out, in]`.

use crate::measure::{Exactness, timed, use_isa};
use clinpeft_nn::measure_prepack;
use clinpeft_rng::{Rng, Seed};
use clinpeft_tensor::ops::{Layout, matmul};
use clinpeft_tensor::{DType, Precision, Tensor, gemm};
use serde_json::{Map, Value, json};
use std::error::Error;

#[derive(clap::Args)]
pub struct Options {
    /// Rows x inner length x columns, with commas between.
    #[arg(long, value_delimiter = ',')]
    shapes: Vec<String>,
    /// How exact.
    #[arg(long)]
    precision: Exactness,
    /// The gradient of the input, dX = dY W, in place of y = x W^T.
    #[arg(long)]
    backward: bool,
    /// Instruction set of the kernels, in place of the best; `gemm` is the `gemm` crate.
    #[arg(long)]
    isa: Option<String>,
}

/// GFLOP/s of each shape, by the median, and which packs of the weight are kept, as a run would.
pub fn time(options: &Options) -> Result<Value, Box<dyn Error>> {
    use_isa(options.isa.as_ref())?;
    let precision = Precision::from(options.precision);
    let (mut found, mut packs) = (Map::new(), Map::new());
    for shape in &options.shapes {
        let sizes: Vec<usize> = shape.split('x').map(str::parse).collect::<Result<_, _>>()?;
        let [m, k, n] = sizes[..] else { return Err(format!("`{shape}` is not a shape like 512x768x768").into()) };
        let random = |dims: &[usize]| {
            let mut rng = Seed(1).stream(shape);
            let values = (0..dims.iter().product()).map(|_| rng.next_u32() as f32 / 2f32.powi(31) - 1.0);
            Tensor::from_vec(values.collect(), dims)
        };
        let weight = if options.backward { random(&[k, n])? } else { random(&[n, k])? };
        let layout = if options.backward { Layout::Normal } else { Layout::RightTransposed };
        let stored = if precision == Precision::Bf16 { DType::Bf16 } else { DType::F32 };
        let (x, weight) = (random(&[m, k])?, weight.cast(stored)?.with_precision(precision));
        let (packing, _) = measure_prepack(&weight, m)?;
        let weight = weight.with_prepack(packing);
        let mut times = timed(15, 3.0, || {
            matmul(&x, &weight, layout)?;
            Ok(())
        })?;
        packs.insert(shape.clone(), json!(packing.name()));
        times.sort_by(f64::total_cmp);
        found.insert(shape.clone(), json!((2 * m * k * n) as f64 / times[times.len() / 2] * 1e-9));
    }
    Ok(json!({ "gflops": found, "prepack": packs, "isa": gemm::isa(precision) }))
}
