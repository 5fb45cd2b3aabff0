use super::*;
use crate::DType;
use clinpeft_rng::Key;

fn random(rows: usize, width: usize, seed: u64) -> Tensor {
    let mut s = clinpeft_rng::Seed(seed).stream("attention");
    Tensor::from_vec((0..rows * width).map(|_| clinpeft_rng::normal(&mut s)).collect(), &[rows, width]).unwrap()
}

/// The textbook formula, one query at a time.
fn naive(q: &Tensor, k: &Tensor, v: &Tensor, s: &AttentionShape, seg: &CuSeqlens) -> Vec<f64> {
    let d = s.head_width;
    let (wide, narrow) = (s.heads * d, s.kv_heads * d);
    let (q, k, v) = (q.as_slice::<f64>().unwrap(), k.as_slice::<f64>().unwrap(), v.as_slice::<f64>().unwrap());
    let mut out = vec![0.0; q.len()];
    for b in 0..seg.queries.len() - 1 {
        let (q0, q1, k0, k1) = (seg.queries[b], seg.queries[b + 1], seg.keys[b], seg.keys[b + 1]);
        for i in q0..q1 {
            let end = if s.mask == Mask::Full { k1 } else { (k1 + i + 1).saturating_sub(q1).max(k0) };
            let k0 = if let Mask::SlidingWindow(window) = s.mask { k0.max(end.saturating_sub(window)) } else { k0 };
            for h in 0..s.heads {
                let c = h / (s.heads / s.kv_heads);
                let e: Vec<f64> = (k0..end)
                    .map(|j| (0..d).map(|x| q[i * wide + h * d + x] * k[j * narrow + c * d + x]).sum::<f64>() * s.scale)
                    .map(f64::exp)
                    .collect();
                let total: f64 = e.iter().sum();
                for x in 0..d {
                    out[i * wide + h * d + x] = (k0..end).map(|j| e[j - k0] / total * v[j * narrow + c * d + x]).sum();
                }
            }
        }
    }
    out
}

#[test]
fn equals_the_textbook_formula() {
    for (queries, keys) in
        [(vec![0, 3, 3, 80], vec![0, 3, 3, 80]), (vec![0, 5, 70], vec![0, 9, 76]), (vec![0, 4], vec![0, 2])]
    {
        for mask in [Mask::Causal, Mask::Full, Mask::SlidingWindow(1), Mask::SlidingWindow(7), Mask::SlidingWindow(80)]
        {
            for (heads, kv_heads) in [(4, 2), (3, 1), (2, 2)] {
                let shape = AttentionShape { heads, kv_heads, head_width: 6, scale: 0.4, mask, dropout: None };
                let seg = CuSeqlens { queries: queries.clone(), keys: keys.clone() };
                let q = random(*queries.last().unwrap(), heads * 6, 1);
                let (k, v) =
                    (random(*keys.last().unwrap(), kv_heads * 6, 2), random(*keys.last().unwrap(), kv_heads * 6, 3));
                let (o, _) = attention(&q, &k, &v, &shape, &seg).unwrap();
                for (x, w) in o.as_slice::<f64>().unwrap().iter().zip(naive(&q, &k, &v, &shape, &seg)) {
                    assert!(if w.is_nan() { *x == 0.0 } else { (x - w).abs() < 1e-12 }, "{x} {w}");
                }
            }
        }
    }
}

#[test]
fn query_without_keys_gives_zeros_and_no_gradient() {
    let shape = AttentionShape { heads: 1, kv_heads: 1, head_width: 2, scale: 1.0, mask: Mask::Causal, dropout: None };
    let seg = CuSeqlens { queries: vec![0, 3], keys: vec![0, 1] };
    let (q, k) = (random(3, 2, 1), random(1, 2, 2));
    let (o, lse) = attention(&q, &k, &k, &shape, &seg).unwrap();
    assert_eq!(&o.as_slice::<f64>().unwrap()[..4], [0.0; 4]);
    let (dq, dk, _) = attention_backward(&q, [&q, &k, &k, &o, &lse], &shape, &seg).unwrap();
    assert!(dq.to_f64_vec().unwrap().iter().chain(&dk.to_f64_vec().unwrap()).all(|x| x.is_finite()));
}

#[test]
fn segments_that_do_not_cover_the_rows_are_an_error() {
    let shape = AttentionShape { heads: 1, kv_heads: 1, head_width: 2, scale: 1.0, mask: Mask::Full, dropout: None };
    let q = Tensor::zeros(&[3, 2], DType::F32);
    assert!(attention(&q, &q, &q, &shape, &CuSeqlens::same(&[0, 2])).is_err());
}

#[test]
fn window_of_no_key_is_an_error() {
    let shape = |mask| AttentionShape { heads: 1, kv_heads: 1, head_width: 2, scale: 1.0, mask, dropout: None };
    let q = Tensor::zeros(&[3, 2], DType::F32);
    let run = |window| attention(&q, &q, &q, &shape(Mask::SlidingWindow(window)), &CuSeqlens::same(&[0, 3]));
    assert!(run(0).unwrap_err().to_string().contains("a window above 0") && run(1).is_ok());
}

#[test]
fn dropout_of_weights_keeps_their_mean_and_repeats_its_mask() {
    let shape = |rate| AttentionShape {
        heads: 2,
        kv_heads: 2,
        head_width: 1,
        scale: 1.0,
        mask: Mask::Full,
        dropout: Some(AttentionDropout { rate, key: Key([7, 8]) }),
    };
    let zeros = Tensor::zeros(&[300, 2], DType::F64);
    let ones = Tensor::from_vec(vec![1.0f64; 600], &[300, 2]).unwrap();
    let cu_seqlens = CuSeqlens::same(&[0, 100, 300]);
    let run = |rate| attention(&zeros, &zeros, &ones, &shape(rate), &cu_seqlens).map(|(o, _)| o.to_f64_vec().unwrap());
    let o = run(0.25).unwrap();
    assert_eq!(o, run(0.25).unwrap());
    assert!((o.iter().sum::<f64>() / 600.0 - 1.0).abs() < 0.02);
    assert!(o.iter().any(|x| (x - o[0]).abs() > 1e-3), "rows have masks of their own");
    assert!(run(0.0).unwrap().iter().all(|x| (x - 1.0).abs() < 1e-12));
    assert!(run(1.0).is_err());
}
