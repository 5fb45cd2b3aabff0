//! Attention over ragged sequences. See [`clinpeft_tensor::ops::attention`].

use crate::{Result, Var};
use clinpeft_tensor::ops::{self, AttentionShape, CuSeqlens};

/// Softmax-weighted values for each query.
pub fn attention(q: &Var, k: &Var, v: &Var, shape: &AttentionShape, cu_seqlens: &CuSeqlens) -> Result<Var> {
    let (o, lse) = ops::attention(q.value(), k.value(), v.value(), shape, cu_seqlens)?;
    let (shape, cu_seqlens) = (*shape, cu_seqlens.clone());
    let kept = Var::constant(o.clone()).rounded_like(&[q, k, v]).saved()?;
    let saved = [q.saved()?, k.saved()?, v.saved()?, kept, lse];
    Ok(Var::from_op(o, [q, k, v], move |g, want| {
        let (dq, dk, dv) = ops::attention_backward(g, saved.each_ref(), &shape, &cu_seqlens)?;
        Ok([want[0].then_some(dq), want[1].then_some(dk), want[2].then_some(dv)])
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Check, gradcheck};
    use clinpeft_tensor::ops::{AttentionDropout, Mask};
    use clinpeft_tensor::rng::Key;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn gradient_equals_central_differences(
            lengths in proptest::collection::vec((0usize..4, 0usize..3), 1..4),
            group in 1usize..3, kv_heads in 1usize..3, window in 0usize..6, rate in 0.0f64..0.6,
        ) {
            let mut cu_seqlens = CuSeqlens { queries: vec![0], keys: vec![0] };
            for (t, prefix) in &lengths {
                cu_seqlens.queries.push(cu_seqlens.queries.last().unwrap() + t);
                cu_seqlens.keys.push(cu_seqlens.keys.last().unwrap() + t + prefix);
            }
            let mask = match window {
                0 => Mask::Full,
                5 => Mask::Causal,
                window => Mask::SlidingWindow(window),
            };
            // One run in three is without dropout.
            let dropout = (rate > 0.2).then_some(AttentionDropout { rate, key: Key([5, 6]) });
            let shape = AttentionShape { heads: group * kv_heads, kv_heads, head_width: 3, scale: 0.6, mask, dropout };
            let (tq, tk) = (*cu_seqlens.queries.last().unwrap(), *cu_seqlens.keys.last().unwrap());
            let shapes: [&[usize]; 3] = [&[tq, group * kv_heads * 3], &[tk, kv_heads * 3], &[tk, kv_heads * 3]];
            gradcheck(shapes, |[q, k, v]| attention(q, k, v, &shape, &cu_seqlens), Check::default()).unwrap();
        }
    }

    #[test]
    fn fully_masked_rows_have_a_gradient_of_zero() {
        let shape =
            AttentionShape { heads: 1, kv_heads: 1, head_width: 3, scale: 1.0, mask: Mask::Causal, dropout: None };
        let cu_seqlens = CuSeqlens { queries: vec![0, 4], keys: vec![0, 2] };
        gradcheck([&[4, 3], &[2, 3], &[2, 3]], |[q, k, v]| attention(q, k, v, &shape, &cu_seqlens), Check::default())
            .unwrap();
    }
}
