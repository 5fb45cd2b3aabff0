//! Perplexity of a language model.

use crate::bootstrap::{Bootstrap, Estimate, Population, Watch};
use crate::error::{Error, Result, Undefined};

/// What a language model loses on one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextLoss {
    /// Sum of the negative log-likelihoods (natural logarithm) of the predicted tokens.
    pub nll: f64,
    /// How many tokens were predicted.
    pub tokens: u64,
}

/// `exp(nll / tokens)`: every token counts the same, however the texts were batched.
///
/// # Errors
/// A loss that is not finite; no token ([`Undefined::NoTokens`]).
///
/// ```
/// use clinpeft_metrics::{TextLoss, perplexity};
/// assert_eq!(perplexity(TextLoss { nll: 0.0, tokens: 3 })?, 1.0);
/// # Ok::<(), clinpeft_metrics::Error>(())
/// ```
pub fn perplexity(loss: TextLoss) -> Result<f64> {
    if !loss.nll.is_finite() {
        return Err(Error::Loss { row: 0, value: loss.nll });
    }
    if loss.tokens == 0 {
        return Err(Error::Undefined { metric: "perplexity", reason: Undefined::NoTokens });
    }
    Ok((loss.nll / loss.tokens as f64).exp())
}

/// [`perplexity`] of all texts, with an interval by patient (`subjects[i]`: the patient of text `i`).
///
/// # Errors
/// As [`perplexity`]; unequal lengths; a level outside (0, 1); [`Error::Stopped`] by `watch`.
pub fn perplexity_watched(
    texts: &[TextLoss],
    subjects: &[u64],
    bootstrap: &Bootstrap,
    watch: &Watch<'_>,
) -> Result<Estimate> {
    bootstrap.check()?;
    if texts.len() != subjects.len() {
        return Err(Error::Shape { what: "subjects", expected: texts.len(), found: subjects.len() });
    }
    if let Some(row) = texts.iter().position(|t| !t.nll.is_finite()) {
        return Err(Error::Loss { row, value: texts[row].nll });
    }
    let all = TextLoss { nll: texts.iter().map(|t| t.nll).sum(), tokens: texts.iter().map(|t| t.tokens).sum() };
    let value = perplexity(all)?;
    let resampled = bootstrap.run(&Population::new(subjects.iter().copied()), subjects, watch, |weights| {
        std::array::from_fn(|l| {
            let (mut nll, mut tokens) = (0.0, 0.0);
            for (text, w) in texts.iter().zip(weights) {
                nll += f64::from(w[l]) * text.nll;
                tokens += f64::from(w[l]) * text.tokens as f64;
            }
            (nll / tokens).exp()
        })
    })?;
    Ok(bootstrap.estimate(value, resampled.into_iter()))
}
