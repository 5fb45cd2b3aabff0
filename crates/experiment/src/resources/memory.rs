//! What a run needs of memory, before anything is loaded.
//!
//! ```text
//! weights      as stored; in f32 where the whole model learns
//! learning     value, gradient and two moments in f32: 16 bytes for each parameter that learns
//! activations  f32, for the tokens that are run at once: what the backward pass reads of each layer, or with recomputation the
//!              layers' inputs and what one layer reads; and what passes through the widest place
//! rest         the program, notes and tokens
//! ```
//!
//! Orders of frozen weights are kept (see [`clinpeft_nn::prepack_weights`]) in what this leaves free, never in what it counts.

use crate::error::{Error, Result};
use crate::resources::sizes::Sizes;
use crate::spec::{AdapterSpec, MemoryPolicy, RunSpec};
use std::fmt;

/// Bytes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// The base model.
    pub weights: u64,
    /// What learns, with its gradient and the optimizer's state.
    pub learning: u64,
    /// What the backward pass reads, and the widest place.
    pub activations: u64,
    /// Everything else.
    pub rest: u64,
}

/// The program with its data.
const REST: u64 = 400 << 20;

/// Tokens that are run at once where nothing is kept for a backward pass.
pub(crate) const EVALUATION_TOKENS: usize = 4096;

impl Memory {
    /// Of a run on a model with so many parameters beside it that learn, and rows in front of each sequence.
    pub fn of(spec: &RunSpec, sizes: &Sizes, learning: u64, virtual_rows: u64) -> Memory {
        let t = &spec.training;
        let length = spec.tokens.max_length as u64 + virtual_rows;
        // At least one sequence is run at once.
        let tokens = (t.micro_tokens as u64).min(t.batch_sequences as u64 * length).max(length);
        let (d, inner, layers) = (sizes.shape.width as u64, sizes.inner as u64, sizes.shape.layers as u64);
        let trains = spec.full || learns(spec);
        let layer = of_layer(sizes, spec.full);
        let kept = match (trains, t.memory) {
            (false, _) => 0,
            (true, MemoryPolicy::Keep) => layers * layer,
            (true, MemoryPolicy::Recompute) => layers * d + layer,
        };
        let passing = 4 * d.max(inner);
        let activations =
            4 * (tokens * (kept + if trains { passing } else { 0 })).max(EVALUATION_TOKENS as u64 * passing);
        let base = if spec.full { 16 * sizes.parameters } else { 0 };
        Memory {
            weights: if spec.full { 0 } else { sizes.weight_bytes },
            learning: 16 * learning + base,
            activations,
            rest: REST,
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.learning + self.activations + self.rest
    }
}

/// Bytes of a bag of words with its classifier: in f32 the coefficients twice (the model, and the file of it or the model before), and
/// what the solver keeps of the sixteen outputs that it solves at once.
pub(crate) fn bag_of_words(features: u64, labels: u64) -> u64 {
    const SOLVED: u64 = 16;
    const VECTORS: u64 = 25;
    4 * features * (2 * labels.next_multiple_of(SOLVED) + SOLVED * VECTORS) + REST
}

/// Parameters of adapters that learn, and rows that they put before a sequence.
pub(crate) fn adapters(
    spec: &RunSpec,
    sizes: &Sizes,
    made_by: impl Fn(&str) -> Option<AdapterSpec>,
) -> Result<(u64, u64)> {
    let (mut learning, mut rows) = (0, 0);
    for entry in spec.stack.iter().filter(|e| e.active) {
        let config = entry.adapter.clone().or_else(|| made_by(entry.from.as_deref()?));
        let Some(config) = config else { continue };
        if entry.trainable {
            learning += config.count(&sizes.shape)? as u64;
        }
        rows += config.virtual_tokens() as u64;
    }
    Ok((learning, rows))
}

/// Values of one token that the backward pass reads of one layer: inputs of normalisations and of what learns, queries, keys,
/// values and result of attention, and both sides of the feed-forward part's product.
fn of_layer(sizes: &Sizes, full: bool) -> u64 {
    let (d, inner) = (sizes.shape.width as u64, sizes.inner as u64);
    let attention = 2 * (sizes.shape.heads * sizes.shape.head_width) as u64 + 2 * sizes.shape.key_width() as u64;
    let family = sizes.family;
    attention + if full { family.saved_values_in_full(d, inner) } else { family.saved_values(d, inner) }
}

/// Whether an adapter learns, so that there is a backward pass through the model.
pub(crate) fn learns(spec: &RunSpec) -> bool {
    spec.stack.iter().any(|e| e.trainable && e.active)
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.weights, self.learning, self.activations, self.rest].map(gib);
        let [weights, learning, activations, rest] = parts;
        write!(
            f,
            "{} GiB (weights {weights}, what learns {learning}, activations {activations}, rest {rest})",
            gib(self.total())
        )
    }
}

/// With one decimal.
pub(crate) fn gib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 30))
}

/// The bytes of `free` that a run leaves. Refuses one that does not fit, and says what would.
pub(crate) fn check(spec: &RunSpec, sizes: &Sizes, learning: u64, virtual_rows: u64, free: u64) -> Result<u64> {
    let need = Memory::of(spec, sizes, learning, virtual_rows);
    if let Some(left) = free.checked_sub(need.total()) {
        return Ok(left);
    }
    let hint = smaller(spec, sizes, learning, virtual_rows, free);
    Err(Error::Options(format!("this run needs about {need}, and {} GiB are free\nhint: {hint}", gib(free))))
}

/// What would fit: fewer tokens at once, recomputation, both, or weights of two bytes.
fn smaller(spec: &RunSpec, sizes: &Sizes, learning: u64, virtual_rows: u64, free: u64) -> String {
    let fits = |spec: &RunSpec, sizes: &Sizes| Memory::of(spec, sizes, learning, virtual_rows).total() <= free;
    let in_bf16 = Sizes { weight_bytes: sizes.weight_bytes.min(sizes.parameters * 2), ..sizes.clone() };
    let mut models = vec![(sizes, None)];
    if in_bf16.weight_bytes < sizes.weight_bytes && !spec.full {
        models.push((&in_bf16, Some("the model's weights stored in bf16")));
    }
    for (sizes, weights) in models {
        for memory in [spec.training.memory, MemoryPolicy::Recompute] {
            let mut tried = spec.clone();
            tried.training.memory = memory;
            loop {
                if fits(&tried, sizes) {
                    return said(spec, &tried, weights);
                }
                if tried.training.micro_tokens <= spec.tokens.max_length {
                    break;
                }
                tried.training.micro_tokens = (tried.training.micro_tokens / 2).max(spec.tokens.max_length);
            }
        }
    }
    let mut least = spec.clone();
    least.training.memory = MemoryPolicy::Recompute;
    least.training.micro_tokens = 1;
    let needed = Memory::of(&least, &in_bf16, learning, virtual_rows).total();
    format!("no setting makes it fit here; with the smallest ones it needs {} GiB, on another machine", gib(needed))
}

fn said(before: &RunSpec, after: &RunSpec, weights: Option<&str>) -> String {
    let mut all: Vec<String> = weights.map(String::from).into_iter().collect();
    if before.training.micro_tokens != after.training.micro_tokens {
        all.push(format!("a smaller batch at once, `--set training.micro_tokens={}`", after.training.micro_tokens));
    }
    if before.training.memory != after.training.memory {
        all.push("checkpointing, `--set training.memory=recompute`".into());
    }
    format!("it fits with {}", all.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::inputs_dir::Inputs;
    use crate::plan::filter::RowFilter;
    use crate::{Profile, Store, reproduce};

    /// The published adaptation with LoRA, and the sizes of LLaMA-7B as it is stored.
    fn published() -> (RunSpec, Sizes) {
        let out = tempfile::tempdir().unwrap();
        let options = reproduce::Options {
            profile: "paper",
            seeds: vec![],
            only: RowFilter { words: vec!["LLaMA + LoRA".into()], tables: vec![2] },
            fidelities: vec![],
            inputs: Inputs::at(&out.path().join("inputs")).unwrap(),
            set: Default::default(),
            threads: 1,
            device: "cpu",
        };
        let (profile, runs): (Profile, _) = reproduce::dry_run(&Store::new(out.path()), &options, &mut |_| {}).unwrap();
        let sizes = Sizes::of_base(&profile, profile.base("llama").unwrap(), out.path()).unwrap();
        (runs[0].spec.clone(), sizes)
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let (spec, sizes) = published();
        let learning = 8_388_608;
        let refused = |free: u64, sizes: &Sizes| {
            let e = check(&spec, sizes, learning, 0, free << 30).unwrap_err().to_string();
            assert!(e.contains("GiB") && e.contains("\nhint: "), "{e}");
            e
        };
        assert!(check(&spec, &sizes, learning, 0, 80 << 30).is_ok());
        assert!(refused(20, &sizes).contains("smaller batch at once"));
        assert!(refused(16, &sizes).contains("checkpointing"));
        let stored_in_f32 = Sizes { weight_bytes: 4 * sizes.parameters, ..sizes.clone() };
        assert!(refused(20, &stored_in_f32).contains("bf16"));
        assert!(refused(4, &sizes).contains("another machine"));
    }

    #[test]
    fn what_a_hint_names_fits() {
        let (spec, sizes) = published();
        for free in 14..30u64 {
            let Err(e) = check(&spec, &sizes, 8_388_608, 0, free << 30) else { continue };
            let mut followed = spec.clone();
            let text = e.to_string();
            if let Some((_, rest)) = text.split_once("micro_tokens=") {
                followed.training.micro_tokens =
                    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
            }
            if text.contains("memory=recompute") {
                followed.training.memory = MemoryPolicy::Recompute;
            }
            assert!(text.contains("another machine") || check(&followed, &sizes, 8_388_608, 0, free << 30).is_ok());
        }
    }
}
