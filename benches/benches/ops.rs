//! Single operations on the CPU: `cargo bench -p clinpeft-benches --bench ops`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use clinpeft_rng::{Seed, normal};
use clinpeft_tensor::Tensor;
use clinpeft_tensor::ops::{self, AttentionShape, CuSeqlens, Layout, Mask};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn random(dims: &[usize]) -> Tensor {
    let mut s = Seed(1).stream("bench");
    let n = dims.iter().product();
    Tensor::from_vec((0..n).map(|_| normal(&mut s) as f32).collect(), dims).unwrap()
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("matmul f32");
    for (m, k, n) in [(512, 96, 96), (512, 96, 256), (512, 768, 768), (512, 2048, 2048), (512, 2048, 16)] {
        let (a, b) = (random(&[m, k]), random(&[n, k]));
        group.throughput(Throughput::Elements((2 * m * k * n) as u64));
        group.bench_function(format!("{m}x{k}x{n}"), |t| {
            t.iter(|| ops::matmul(&a, &b, Layout::RightTransposed).unwrap());
        });
    }
    group.finish();
}

fn rows(c: &mut Criterion) {
    let (x, w) = (random(&[2048, 768]), random(&[768]));
    c.bench_function("rms_norm 2048x768", |t| t.iter(|| ops::rms_norm(&x, &w, 1e-5).unwrap()));
    c.bench_function("silu_mul 2048x768", |t| t.iter(|| ops::silu_mul(&x, &x).unwrap()));
    let shape =
        AttentionShape { heads: 12, kv_heads: 12, head_width: 64, scale: 0.125, mask: Mask::Causal, dropout: None };
    let cu_seqlens = CuSeqlens::same(&[0, 512, 1024, 1536, 2048]);
    let (o, lse) = ops::attention(&x, &x, &x, &shape, &cu_seqlens).unwrap();
    c.bench_function("attention 4x512, 12 heads", |t| {
        t.iter(|| ops::attention(&x, &x, &x, &shape, &cu_seqlens).unwrap());
    });
    c.bench_function("attention backward 4x512, 12 heads", |t| {
        t.iter(|| ops::attention_backward(&x, [&x, &x, &x, &o, &lse], &shape, &cu_seqlens).unwrap());
    });
}

criterion_group!(benches, products, rows);
criterion_main!(benches);
