//! Classification head, pooling, and losses as sums, so that the caller decides what to divide by.

use crate::{Error, Learning, Parameter, Result};
use clinpeft_autodiff::{Var, ops};
use clinpeft_tensor::Tensor;
use clinpeft_tensor::rng::{Stream, normal};

/// Which row stands for a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The last token, found by length.
    LastToken,
    /// The first token.
    FirstToken,
}

impl Pooling {
    /// The row of each sequence.
    pub fn rows(self, offsets: &[u32]) -> Result<Tensor> {
        let rows: Vec<u32> = offsets
            .windows(2)
            .map(|w| match self {
                Pooling::LastToken => w[1] - 1,
                Pooling::FirstToken => w[0],
            })
            .collect();
        let n = rows.len();
        Ok(Tensor::from_vec(rows, &[n])?)
    }
}

/// Scores for classes or labels: `z = W h`, W `[c, d]`, no bias.
#[derive(Debug, Clone)]
pub struct Classifier {
    weight: Parameter,
}

impl Classifier {
    /// A new head with weights from N(0, 0.02).
    pub fn new(classes: usize, width: usize, rng: &mut Stream) -> Result<Classifier> {
        let values: Vec<f32> = (0..classes * width).map(|_| (0.02 * normal(rng)) as f32).collect();
        Ok(Classifier::from_weight(
            Tensor::from_vec(values, &[classes, width])?,
            Learning::Trainable,
        ))
    }

    /// A head with known weights.
    pub fn from_weight(weight: Tensor, learning: Learning) -> Classifier {
        Classifier {
            weight: Parameter::new("score.weight", weight, learning),
        }
    }

    /// W.
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// W for writing.
    pub fn weight_mut(&mut self) -> &mut Parameter {
        &mut self.weight
    }

    /// Number of classes or labels.
    pub fn classes(&self) -> usize {
        self.weight.value().dims()[0]
    }

    /// `[b, c]` from pooled rows `[b, d]`.
    pub fn forward(&self, pooled: &Var) -> Result<Var> {
        Ok(ops::linear(pooled, self.weight.var())?)
    }
}

/// Sum over notes of `weights[class]` times cross-entropy.
pub fn class_loss(logits: &Var, classes: &[u32], weights: &[f64]) -> Result<Var> {
    let n = classes.len();
    let row_weights = classes
        .iter()
        .map(|c| weights.get(*c as usize).copied())
        .collect::<Option<Vec<f64>>>();
    let row_weights = row_weights.ok_or_else(|| Error::Batch("a class has no weight".into()))?;
    let device = logits.value().device();
    let targets = Tensor::from_vec(classes.to_vec(), &[n])?.to_device(&device)?;
    let row_weights = Tensor::from_vec(row_weights, &[n])?
        .cast(logits.dtype())?
        .to_device(&device)?;
    Ok(ops::cross_entropy(logits, &targets, &row_weights)?)
}

/// Sum over notes of the mean over labels of binary cross-entropy; `targets` holds 0 or 1, row by row.
pub fn binary_loss(logits: &Var, targets: Vec<f64>) -> Result<Var> {
    let labels = logits.dims().last().copied().unwrap_or(1);
    let targets = Tensor::from_vec(targets, logits.dims())?.cast(logits.dtype())?;
    let sum = ops::bce_with_logits(logits, &targets.to_device(&logits.value().device())?)?;
    Ok(ops::scale(&sum, 1.0 / labels as f64)?)
}

/// Sum over positions of the cross-entropy of the next token. `hidden` may begin each sequence with `virtual_rows` rows
/// that are not tokens; the last of them predicts the first token. Returns the sum and the number of predictions.
pub fn next_token_loss(
    hidden: &Var,
    head: &Var,
    ids: &Tensor,
    offsets: &[u32],
    virtual_rows: usize,
) -> Result<(Var, usize)> {
    let on_cpu = ids.to_cpu()?;
    let ids = on_cpu.as_slice::<u32>()?;
    let rows = hidden.dims()[0];
    let (mut targets, mut weights) = (vec![0u32; rows], vec![0f64; rows]);
    let mut count = 0;
    for (s, w) in offsets.windows(2).enumerate() {
        let first = w[0] as usize + s * virtual_rows;
        for (i, token) in ids[w[0] as usize..w[1] as usize].iter().enumerate() {
            let row = first + virtual_rows + i;
            if row > first {
                targets[row - 1] = *token;
                weights[row - 1] = 1.0;
                count += 1;
            }
        }
    }
    let device = hidden.value().device();
    let targets = Tensor::from_vec(targets, &[rows])?.to_device(&device)?;
    let weights = Tensor::from_vec(weights, &[rows])?
        .cast(hidden.dtype())?
        .to_device(&device)?;
    Ok((ops::linear_cross_entropy(hidden, head, &targets, &weights)?, count))
}

/// Next-token loss and number of predictions of each sequence; see [`next_token_loss`].
pub fn sequence_losses(hidden: &crate::Hidden, head: &Var, ids: &Tensor, offsets: &[u32]) -> Result<Vec<(f64, usize)>> {
    let n = hidden.virtual_rows;
    let ids = ids.to_cpu()?;
    let tokens = ids.as_slice::<u32>()?;
    let one = |(s, w): (usize, &[u32])| {
        let (first, last) = (w[0] as usize, w[1] as usize);
        let own = Tensor::from_vec(tokens[first..last].to_vec(), &[last - first])?;
        let rows: Vec<u32> = (hidden.offsets[s]..hidden.offsets[s + 1]).collect();
        let count = rows.len();
        let rows = Tensor::from_vec(rows, &[count])?.to_device(&hidden.rows.value().device())?;
        let part = ops::embedding(&hidden.rows, &rows)?;
        let (loss, predictions) = next_token_loss(&part, head, &own, &[0, (last - first) as u32], n)?;
        Ok((loss.value().item()?, predictions))
    };
    offsets.windows(2).enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinpeft_tensor::DType;

    #[test]
    fn last_token_is_found_by_length() {
        let rows = Pooling::LastToken.rows(&[0, 2, 5]).unwrap();
        assert_eq!(rows.as_slice::<u32>().unwrap(), [1, 4]);
    }

    #[test]
    fn last_virtual_row_predicts_the_first_token() {
        let h = Var::constant(Tensor::zeros(&[2 * 2 + 5, 3], DType::F64));
        let head = Var::constant(Tensor::zeros(&[4, 3], DType::F64));
        let ids = Tensor::from_vec(vec![1u32, 2, 3, 0, 1], &[5]).unwrap();
        let (_, with_prompt) = next_token_loss(&h, &head, &ids, &[0, 2, 5], 2).unwrap();
        assert_eq!(with_prompt, 5);
        let h = Var::constant(Tensor::zeros(&[5, 3], DType::F64));
        let (loss, plain) = next_token_loss(&h, &head, &ids, &[0, 2, 5], 0).unwrap();
        assert_eq!(plain, 3);
        assert!((loss.value().item().unwrap() - 3.0 * 4f64.ln()).abs() < 1e-12);
    }
}
