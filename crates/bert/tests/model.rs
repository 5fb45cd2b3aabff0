//! The model from the outside.

#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_autodiff::{Var, backward, ops};
use clinpeft_bert::{Bert, Config, MaskedHead, MaskedTokens};
use clinpeft_nn::{
    AdapterHooks, Backbone, Checkpointing, ForwardCtx, HiddenRows, NoAdapters, PadProbe, Parameter, Pooling,
    RaggedBatch, Result, Trainability, class_loss,
};
use clinpeft_rng::Seed;
use clinpeft_tensor::{DType, Device, Tensor};
use clinpeft_weights::{Keep, TensorMap, save};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const FIRST: HiddenRows = HiddenRows::Pooled(Pooling::FirstToken);

fn model(learning: Trainability) -> Bert {
    Bert::random(Config::tiny(32, 16, 2, 4, 24), Seed(3), learning).unwrap()
}

fn batch(sequences: &[&[u32]]) -> RaggedBatch {
    let all: Vec<Vec<u32>> = sequences.iter().map(|s| s.to_vec()).collect();
    RaggedBatch::from_sequences(&all).unwrap()
}

fn run(m: &Bert, batch: &RaggedBatch, ctx: &ForwardCtx, want: HiddenRows) -> Result<Var> {
    let hooks: Arc<dyn AdapterHooks> = Arc::new(NoAdapters);
    Ok(m.hidden(batch, &hooks, ctx, want)?.rows)
}

fn rows(m: &Bert, batch: &RaggedBatch, want: HiddenRows) -> Vec<f64> {
    let rows = run(m, batch, &ForwardCtx::evaluate(), want).unwrap();
    rows.value().to_f64_vec().unwrap()
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() < 2e-6, "{x} {y}");
    }
}

#[test]
fn neighbours_in_a_batch_change_nothing() {
    let m = model(Trainability::Frozen);
    let (a, b): (&[u32], &[u32]) = (&[1, 5, 9, 2], &[3, 3, 7]);
    for want in [HiddenRows::All, FIRST] {
        let together = rows(&m, &batch(&[a, b]), want);
        close(&together, &[rows(&m, &batch(&[a]), want), rows(&m, &batch(&[b]), want)].concat());
    }
}

#[test]
fn later_tokens_change_the_first_row() {
    let m = model(Trainability::Frozen);
    let (a, b) = (rows(&m, &batch(&[&[1, 5, 9]]), FIRST), rows(&m, &batch(&[&[1, 5, 8]]), FIRST));
    assert!(a.iter().zip(&b).any(|(x, y)| (x - y).abs() > 1e-6));
}

#[test]
fn pooled_row_is_the_pooler_of_the_first_row() {
    let m = model(Trainability::Frozen);
    let tokens = batch(&[&[1, 5, 9, 2], &[3, 3, 7]]);
    let all = run(&m, &tokens, &ForwardCtx::evaluate(), HiddenRows::All).unwrap();
    let first = ops::embedding(&all, &Tensor::from_vec(vec![0u32, 4], &[2]).unwrap()).unwrap();
    let own = |name: &str| m.parameters().into_iter().find(|p| p.name() == name).unwrap().var();
    let y = ops::linear(&first, own("bert.pooler.dense.weight")).unwrap();
    let y = ops::tanh(&ops::add_row(&y, own("bert.pooler.dense.bias")).unwrap()).unwrap();
    close(&rows(&m, &tokens, FIRST), &y.value().to_f64_vec().unwrap());
}

#[test]
fn pad_probes_change_no_token_and_may_be_pooled() {
    let m = model(Trainability::Frozen);
    let plain = batch(&[&[1, 5, 9], &[2, 4]]);
    let pad = |sees| PadProbe { sequence: 1, sees, id: 0, position: 0 };
    let observed = plain.clone().with_pad_probes(vec![pad(2)]).unwrap();
    close(&rows(&m, &plain, HiddenRows::All), &rows(&m, &observed, HiddenRows::All)[..5 * 16]);
    close(&rows(&m, &plain, FIRST), &rows(&m, &observed, FIRST));
    let position = rows(&m, &observed, HiddenRows::Pooled(Pooling::FirstPosition));
    close(&rows(&m, &plain, FIRST)[..16], &position[..16]);
    assert!((rows(&m, &plain, FIRST)[16] - position[16]).abs() > 1e-7, "the pad token is pooled");
    let blind = plain.with_pad_probes(vec![pad(1)]).unwrap();
    assert!(run(&m, &blind, &ForwardCtx::evaluate(), FIRST).is_err());
}

/// Copies the files of a model under other names.
fn renamed(from: &Bert, to: &Path, name: impl Fn(&str) -> String) {
    from.save(to).unwrap();
    let named = |p: &Parameter| (name(p.name()), p.value().clone());
    let tensors: TensorMap = from.parameters().into_iter().map(named).collect();
    save(&to.join("model.safetensors"), &tensors, &BTreeMap::new()).unwrap();
}

#[test]
fn folders_of_every_class_hold_the_same_model() {
    let m = model(Trainability::Frozen);
    let tokens = batch(&[&[1, 2, 3]]);
    let names: [fn(&str) -> String; 3] = [
        |n| n.to_string(),
        |n| n.replacen("bert.", "", 1),
        |n| n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"),
    ];
    for name in names {
        let dir = tempfile::tempdir().unwrap();
        renamed(&m, dir.path(), name);
        let again = Bert::load(dir.path(), Keep::Stored, &Device::Cpu).unwrap();
        assert_eq!(rows(&m, &tokens, FIRST), rows(&again, &tokens, FIRST));
        assert_eq!(again.parameter_count(), m.parameter_count());
        assert_eq!(again.target_modules(), m.target_modules());
    }
}

#[test]
fn folder_without_a_pooler_pools_only_with_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    renamed(&model(Trainability::Frozen), dir.path(), |n| n.replace("bert.pooler", "cls.other"));
    let bare = Bert::load(dir.path(), Keep::Stored, &Device::Cpu).unwrap();
    let tokens = batch(&[&[1, 2, 3]]);
    let said = run(&bare, &tokens, &ForwardCtx::evaluate(), FIRST).unwrap_err().to_string();
    assert!(said.contains("no pooler") && said.contains("\nhint: "), "{said}");
    let whole = bare.with_new_pooler(Seed(1), Trainability::Trainable).unwrap();
    assert_eq!(rows(&whole, &tokens, FIRST).len(), 16);
}

#[test]
fn every_parameter_of_a_trainable_model_learns() {
    let m = model(Trainability::Trainable);
    for memory in [Checkpointing::None, Checkpointing::Full] {
        let pooled = run(&m, &batch(&[&[1, 2, 3], &[4, 5]]), &ForwardCtx::train(Seed(1), memory), FIRST).unwrap();
        let loss = class_loss(&pooled, &[3, 5], &[1.0; 16]).unwrap();
        let gradients = backward(&loss).unwrap();
        for p in m.parameters() {
            assert!(gradients.of(p.var()).is_some(), "{} gets no gradient", p.name());
        }
    }
}

#[test]
fn dropout_follows_the_seed_and_recomputation_draws_the_same() {
    let mut c = Config::tiny(32, 16, 2, 4, 24);
    (c.hidden_dropout_prob, c.attention_probs_dropout_prob) = (0.2, 0.3);
    let m = Bert::random(c, Seed(3), Trainability::Trainable).unwrap();
    let tokens = batch(&[&[1, 2, 3], &[4, 5]]);
    let step = |seed, memory| {
        let pooled = run(&m, &tokens, &ForwardCtx::train(Seed(seed), memory), FIRST).unwrap();
        let loss = class_loss(&pooled, &[3, 5], &[1.0; 16]).unwrap();
        let gradients = backward(&loss).unwrap();
        let of = |p: &Parameter| gradients.of(p.var()).unwrap().to_f64_vec().unwrap();
        m.parameters().into_iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(step(1, Checkpointing::None), step(1, Checkpointing::Full));
    assert_ne!(step(1, Checkpointing::None), step(2, Checkpointing::None));
    assert_eq!(rows(&m, &tokens, FIRST), rows(&m, &tokens, FIRST), "evaluation drops nothing");
}

#[test]
fn masked_head_is_tied_to_the_word_table() {
    let m = model(Trainability::Trainable);
    let head = MaskedHead::random(m.config(), Seed(4), Trainability::Trainable).unwrap();
    let hooks: Arc<dyn AdapterHooks> = Arc::new(NoAdapters);
    let hidden = m.hidden(&batch(&[&[1, 2, 3]]), &hooks, &ForwardCtx::evaluate(), HiddenRows::All).unwrap();
    assert_eq!(head.logits(&m, &hidden.rows).unwrap().dims(), [3, 32]);
    let masked = |rows: &[u32], tokens: &[u32]| MaskedTokens { rows: rows.to_vec(), tokens: tokens.to_vec() };
    let (loss, n) = head.loss(&m, &hidden, &masked(&[1, 2], &[7, 9])).unwrap();
    assert_eq!(n, 2);
    let gradients = backward(&loss).unwrap();
    for p in head.parameters() {
        assert!(gradients.of(p.var()).is_some(), "{} gets no gradient", p.name());
    }
    // An embedded token learns from its row; token 9 only as a candidate of the decoder.
    let words = gradients.of(m.parameters()[0].var()).unwrap().to_f64_vec().unwrap();
    assert!(words[9 * 16..10 * 16].iter().any(|x| *x != 0.0));
    assert!(head.loss(&m, &hidden, &masked(&[1], &[])).is_err());
    assert!(head.loss(&m, &hidden, &masked(&[3], &[1])).is_err(), "there is no row 3");
}

#[test]
fn masked_head_comes_from_a_folder_under_either_name_of_its_bias() {
    let (m, dir) = (model(Trainability::Frozen), tempfile::tempdir().unwrap());
    let head = MaskedHead::random(m.config(), Seed(4), Trainability::Frozen).unwrap();
    for bias in ["cls.predictions.bias", "cls.predictions.decoder.bias"] {
        m.save(dir.path()).unwrap();
        let named = |p: &Parameter| (p.name().replace("cls.predictions.bias", bias), p.value().clone());
        let tensors: TensorMap = head.parameters().into_iter().map(named).collect();
        save(&dir.path().join("model.safetensors"), &tensors, &BTreeMap::new()).unwrap();
        let again = MaskedHead::load(dir.path(), Keep::Stored, &Device::Cpu).unwrap();
        let x = Var::constant(Tensor::from_vec(vec![0.1f32; 16], &[1, 16]).unwrap());
        let z = |h: &MaskedHead| h.logits(&m, &x).unwrap().value().to_f64_vec().unwrap();
        assert_eq!(z(&head), z(&again));
    }
}

/// Adapters that BERT does not take.
struct Prompt;
impl AdapterHooks for Prompt {
    fn inputs(&self, _: &ForwardCtx) -> Result<Option<Var>> {
        Ok(Some(Var::constant(Tensor::zeros(&[2, 16], DType::F32))))
    }
}
struct Prefix;
impl AdapterHooks for Prefix {
    fn keys_values(&self, _: &ForwardCtx) -> Result<Option<Vec<(Var, Var)>>> {
        let zeros = Var::constant(Tensor::zeros(&[3, 16], DType::F32));
        Ok(Some(vec![(zeros.clone(), zeros); 2]))
    }
}

#[test]
fn what_it_cannot_do_is_an_error_with_a_hint() {
    let m = model(Trainability::Frozen);
    let tokens = batch(&[&[1, 2]]);
    let (none, ctx) = (Arc::new(NoAdapters) as Arc<dyn AdapterHooks>, ForwardCtx::evaluate());
    let last = HiddenRows::Pooled(Pooling::LastToken);
    let adapters: [Arc<dyn AdapterHooks>; 2] = [Arc::new(Prompt), Arc::new(Prefix)];
    let mut said: Vec<String> = Vec::new();
    for hooks in &adapters {
        said.push(m.hidden(&tokens, hooks, &ctx, FIRST).unwrap_err().to_string());
    }
    said.push(m.hidden(&tokens, &none, &ctx, last).unwrap_err().to_string());
    said.push(m.hidden(&batch(&[&[1; 25]]), &none, &ctx, FIRST).unwrap_err().to_string());
    let hidden = m.hidden(&tokens, &none, &ctx, HiddenRows::All).unwrap();
    said.push(m.language_loss(&hidden, &tokens).unwrap_err().to_string());
    said.push(m.sequence_losses(&tokens, &none).unwrap_err().to_string());
    for text in said {
        assert!(text.contains("\nhint: "), "{text}");
    }
    assert!(m.hidden(&batch(&[&[32]]), &none, &ctx, FIRST).is_err(), "a token outside of the table");
}
