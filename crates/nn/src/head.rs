//! Classification head, and losses as sums, so that the caller decides what to divide by.

use crate::{Error, Hidden, Linear, PadProbe, Parameter, RaggedBatch, Result, Trainability};
use clinpeft_autodiff::{Var, ops};
use clinpeft_tensor::rng::{Stream, normal};
use clinpeft_tensor::{Device, Tensor};

fn take_rows(x: &Var, rows: Vec<u32>) -> Result<Var> {
    let n = rows.len();
    let rows = Tensor::from_vec(rows, &[n])?.to_device(&x.value().device())?;
    Ok(ops::embedding(x, &rows)?)
}

/// Scores for classes or labels: `z = W h + b`, W `[c, d]`, b `[c]`. LLaMA has no b, BERT has one.
///
/// The parameters are called as Hugging Face calls them: `score.weight` without b, `classifier.weight` and `classifier.bias`
/// with it.
#[derive(Debug, Clone)]
pub struct Classifier(Linear);

impl Classifier {
    /// A new head with weights from N(0, 0.02), without b.
    pub fn new(classes: usize, width: usize, rng: &mut Stream) -> Result<Classifier> {
        let values: Vec<f32> = (0..classes * width).map(|_| (0.02 * normal(rng)) as f32).collect();
        Ok(Classifier::from_weight(Tensor::from_vec(values, &[classes, width])?, Trainability::Trainable))
    }

    /// A head with known weights, without b.
    pub fn from_weight(weight: Tensor, trainability: Trainability) -> Classifier {
        Classifier(Linear::new("score".into(), Parameter::new("score.weight", weight, trainability)))
    }

    /// The same head with b, which is trainable if W is. Errors if `bias` is not `[c]`.
    pub fn with_bias(self, bias: Tensor) -> Result<Classifier> {
        if bias.dims() != [self.classes()] {
            return Err(Error::Config(format!(
                "the head has {} classes, but its bias has the shape {}\nhint: weight and bias must come from one model",
                self.classes(),
                bias.shape()
            )));
        }
        let trainability = self.weight().trainability();
        let named = |part: &str, value: Tensor| Parameter::new(format!("classifier.{part}"), value, trainability);
        let weight = named("weight", self.weight().value().clone());
        Ok(Classifier(Linear::new("classifier".into(), weight).with_bias(named("bias", bias))))
    }

    /// The same head with a b of zeros. Errors are those of [`Classifier::with_bias`].
    pub fn with_zero_bias(self) -> Result<Classifier> {
        let weight = self.weight().value();
        let zeros = Tensor::zeros(&[self.classes()], weight.dtype()).to_device(&weight.device())?;
        self.with_bias(zeros)
    }

    /// W.
    pub fn weight(&self) -> &Parameter {
        self.0.weight()
    }

    /// W for writing.
    pub fn weight_mut(&mut self) -> &mut Parameter {
        self.0.weight_mut()
    }

    /// W, then b if there is one.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.0.parameters()
    }

    /// The same for writing.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        self.0.parameters_mut()
    }

    /// Moves the head to where the model is.
    pub fn to_device(&mut self, device: &Device) -> Result<()> {
        Ok(self.parameters_mut().try_for_each(|p| p.to_device(device))?)
    }

    /// Number of classes or labels.
    pub fn classes(&self) -> usize {
        self.weight().value().dims()[0]
    }

    /// `[b, c]` from pooled rows `[b, d]`.
    pub fn forward(&self, pooled: &Var) -> Result<Var> {
        self.0.plain(pooled)
    }
}

/// Sum over notes of `weights[class]` times cross-entropy.
pub fn class_loss(logits: &Var, classes: &[u32], weights: &[f64]) -> Result<Var> {
    let n = classes.len();
    let row_weights = classes.iter().map(|c| weights.get(*c as usize).copied()).collect::<Option<Vec<f64>>>();
    let row_weights = row_weights.ok_or_else(|| Error::Batch("a class has no weight".into()))?;
    let device = logits.value().device();
    let targets = Tensor::from_vec(classes.to_vec(), &[n])?.to_device(&device)?;
    let row_weights = Tensor::from_vec(row_weights, &[n])?.cast(logits.dtype())?.to_device(&device)?;
    Ok(ops::cross_entropy(logits, &targets, &row_weights)?)
}

/// Sum over notes of the mean over labels of binary cross-entropy; `targets` holds 0 or 1, row by row.
pub fn binary_loss(logits: &Var, targets: Vec<f64>) -> Result<Var> {
    let labels = logits.dims().last().copied().unwrap_or(1);
    let targets = Tensor::from_vec(targets, logits.dims())?.cast(logits.dtype())?;
    let sum = ops::bce_with_logits(logits, &targets.to_device(&logits.value().device())?)?;
    Ok(ops::scale(&sum, 1.0 / labels as f64)?)
}

/// One prediction of a language model.
struct Prediction {
    sequence: usize,
    /// The row that predicts.
    row: u32,
    /// What it should predict.
    token: u32,
}

/// Which row predicts which token: a pad probe that stands right before it, otherwise the row before, which for a first
/// token is the last virtual row. A first token without any row before it is predicted by none.
fn predictions(hidden: &Hidden, batch: &RaggedBatch) -> Result<Vec<Prediction>> {
    let on_cpu = batch.ids.to_cpu()?;
    let ids = on_cpu.as_slice::<u32>()?;
    let wanted = |i: u32| batch.targets.as_ref().is_none_or(|t| t.binary_search(&i).is_ok());
    let mut all = Vec::new();
    for (s, w) in batch.offsets.windows(2).enumerate() {
        let first = hidden.offsets[s];
        for i in (w[0]..w[1]).filter(|i| wanted(*i)) {
            let before = |o: &PadProbe| o.sequence as usize == s && o.sees == i - w[0];
            let own = first + hidden.virtual_rows as u32 + i - w[0];
            let row = match hidden.pad_probes.iter().rposition(before) {
                Some(o) => hidden.pad_probe_row(o),
                None if own > first => own - 1,
                None => continue,
            };
            let token = ids[i as usize];
            all.push(Prediction { sequence: s, row, token });
        }
    }
    Ok(all)
}

/// Sum over positions of the cross-entropy of the next token, and the number of predictions.
pub fn next_token_loss(hidden: &Hidden, head: &Var, batch: &RaggedBatch) -> Result<(Var, usize)> {
    let rows = hidden.rows.dims()[0];
    let (mut targets, mut weights) = (vec![0u32; rows], vec![0f64; rows]);
    let all = predictions(hidden, batch)?;
    for p in &all {
        targets[p.row as usize] = p.token;
        weights[p.row as usize] = 1.0;
    }
    Ok((token_loss(&hidden.rows, head, targets, weights)?, all.len()))
}

/// Next-token loss and number of predictions of each sequence; see [`next_token_loss`].
pub fn sequence_losses(hidden: &Hidden, head: &Var, batch: &RaggedBatch) -> Result<Vec<(f64, usize)>> {
    let all = predictions(hidden, batch)?;
    let one = |s: usize| {
        let own = || all.iter().filter(move |p| p.sequence == s);
        let part = take_rows(&hidden.rows, own().map(|p| p.row).collect())?;
        let targets: Vec<u32> = own().map(|p| p.token).collect();
        let count = targets.len();
        let loss = token_loss(&part, head, targets, vec![1.0; count])?;
        Ok((loss.value().item()?, count))
    };
    (0..batch.sequences()).map(one).collect()
}

fn token_loss(rows: &Var, head: &Var, targets: Vec<u32>, weights: Vec<f64>) -> Result<Var> {
    let (n, device) = (targets.len(), rows.value().device());
    let targets = Tensor::from_vec(targets, &[n])?.to_device(&device)?;
    let weights = Tensor::from_vec(weights, &[n])?.cast(rows.dtype())?.to_device(&device)?;
    Ok(ops::linear_cross_entropy(rows, head, &targets, &weights)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clinpeft_tensor::DType;

    fn hidden(rows: Tensor, offsets: &[u32], virtual_rows: usize, pad_probes: &[PadProbe]) -> Hidden {
        Hidden { rows: Var::constant(rows), offsets: offsets.to_vec(), virtual_rows, pad_probes: pad_probes.to_vec() }
    }

    fn behind(sequence: u32, sees: u32) -> PadProbe {
        PadProbe { sequence, sees, id: 0, position: 9 }
    }

    #[test]
    fn bias_moves_every_row_of_scores_and_must_fit_the_classes() {
        let weight = Tensor::from_vec(vec![1.0f64, 0.0, 0.0, 1.0], &[2, 2]).unwrap();
        let head = Classifier::from_weight(weight, Trainability::Trainable);
        let rows = Var::constant(Tensor::from_vec(vec![1.0f64, 2.0, 3.0, 4.0], &[2, 2]).unwrap());
        let scores = |c: &Classifier| c.forward(&rows).unwrap().value().to_f64_vec().unwrap();
        let with = head.clone().with_bias(Tensor::from_vec(vec![10.0f64, -1.0], &[2]).unwrap());
        assert_eq!(scores(&with.unwrap()), [11.0, 1.0, 13.0, 3.0]);
        assert_eq!(scores(&head.clone().with_zero_bias().unwrap()), scores(&head));
        assert!(head.with_bias(Tensor::zeros(&[3], DType::F64)).is_err());
    }

    #[test]
    fn last_virtual_row_predicts_the_first_token() {
        let zeros = |n: usize| Tensor::zeros(&[n, 3], DType::F64);
        let head = Var::constant(Tensor::zeros(&[4, 3], DType::F64));
        let batch = RaggedBatch::from_sequences(&[vec![1, 2], vec![3, 0, 1]]).unwrap();
        let loss = |h: &Hidden, b: &RaggedBatch| next_token_loss(h, &head, b).unwrap();
        assert_eq!(loss(&hidden(zeros(9), &[0, 4, 9], 2, &[]), &batch).1, 5);
        let plain = hidden(zeros(5), &[0, 2, 5], 0, &[]);
        let (sum, count) = loss(&plain, &batch);
        assert_eq!(count, 3);
        assert!((sum.value().item().unwrap() - 3.0 * 4f64.ln()).abs() < 1e-12);
        let each = sequence_losses(&plain, &head, &batch).unwrap();
        assert_eq!(each.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [1, 2]);
        let seen = hidden(zeros(6), &[0, 2, 5], 0, &[behind(1, 0)]);
        assert_eq!(loss(&seen, &batch).1, 4, "a pad probe predicts a first token");
        assert_eq!(loss(&seen, &batch.clone().with_targets(vec![1, 4]).unwrap()).1, 2);
    }
}
