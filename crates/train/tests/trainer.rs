//! Properties of the training loop on a tiny model.

#![allow(clippy::unwrap_used, reason = "tests")]

mod tiny;

use clinpeft_bert::{Bert, MaskedHead};
use clinpeft_nn::{Backbone, Checkpointing, Pooling, Trainability};
use clinpeft_peft::{Activity, Lora, LoraConfig, Scaling, Stack, merge};
use clinpeft_text::Order;
use clinpeft_train::*;
use std::sync::atomic::AtomicBool;
use tiny::*;

#[test]
fn accumulation_equals_one_large_batch() {
    // Without dropout, whose masks are drawn for each micro-batch.
    let run = |micro: usize| {
        let dir = tempfile::tempdir().unwrap();
        let mut o = classification();
        o.stack = {
            let config = LoraConfig {
                r: 2,
                alpha: 4.0,
                dropout: 0.0,
                targets: vec!["q_proj".into()],
                scaling: Scaling::Standard,
            };
            let lora = Lora::new(config, &o.backbone.target_modules(), SEED, Trainability::Trainable).unwrap();
            let mut s = Stack::new();
            s.push("a", Box::new(lora), Activity::Active).unwrap();
            s
        };
        train(&mut o, &plan(1, micro), settings(), dir.path(), None);
        values(&o)
    };
    for ((name, a), (_, b)) in run(1).iter().zip(&run(4)) {
        for (x, y) in a.iter().zip(b) {
            assert!((x - y).abs() < 1e-4, "{name}: {x} {y}");
        }
    }
}

#[test]
fn class_weights_cancel_in_micro_batches_of_one_row() {
    let run = |weighted: bool| {
        let dir = tempfile::tempdir().unwrap();
        let mut o = classification();
        if !weighted {
            o.class_weights = vec![1.0; 2];
        }
        let settings = Settings { reduction: LossReduction::MicroBatch { full: 8 }, ..settings() };
        train(&mut o, &plan(1, 8), settings, dir.path(), None).last_loss
    };
    assert!((run(true) - run(false)).abs() < 1e-6, "{} {}", run(true), run(false));
}

#[test]
fn incomplete_step_is_divided_by_a_full_one_in_micro_batches() {
    let loss = |full: usize| {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { reduction: LossReduction::MicroBatch { full }, ..settings() };
        let plan =
            BatchSchedule::new(vec![1; 8], (Order::Sequential, SEED), 1, 8, MicroBatchSize::Sequences(8)).unwrap();
        train(&mut classification(), &plan, settings, dir.path(), None).last_loss
    };
    assert!((loss(1) - 2.0 * loss(2)).abs() < 1e-12);
}

#[test]
fn recomputation_gives_the_same_bits() {
    let run = |memory: Checkpointing| {
        let dir = tempfile::tempdir().unwrap();
        let mut o = language();
        train(&mut o, &plan(1, 1), Settings { memory, ..settings() }, dir.path(), None);
        values(&o)
    };
    assert_eq!(run(Checkpointing::None), run(Checkpointing::Full));
}

#[test]
fn loss_falls_and_the_base_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut o = language();
    let mean = |o: &LanguageModelling| {
        let all = o.evaluate(&o.data, 64, &GO).unwrap();
        all.iter().map(|l| l.nll).sum::<f64>() / all.iter().map(|l| l.predictions).sum::<usize>() as f64
    };
    let base = |o: &LanguageModelling| -> Vec<Vec<f64>> {
        o.backbone.parameters().iter().map(|p| p.value().to_f64_vec().unwrap()).collect()
    };
    let (before, weights) = (mean(&o), base(&o));
    train(&mut o, &plan(15, 1), settings(), dir.path(), None);
    assert!(mean(&o) < before - 0.05, "{} -> {}", before, mean(&o));
    assert_eq!(weights, base(&o));
}

/// After step 1: a second adapter on the first, which is kept beside it or merged into the weights.
fn second_step(first: &Stack, merged: bool) -> Classification {
    let mut o = classification();
    o.stack = Stack::new();
    let adapter = first.entries()[0].adapter.clone_box();
    if merged {
        merge(&mut *o.backbone, &*adapter).unwrap();
    } else {
        o.stack.push("clinical", adapter, Activity::Active).unwrap();
        o.stack.set_trainability("clinical", Trainability::Frozen).unwrap();
    }
    let config = LoraConfig {
        r: 2,
        alpha: 4.0,
        dropout: 0.0,
        targets: vec!["q_proj".into(), "down_proj".into()],
        scaling: Scaling::Standard,
    };
    let lora = Lora::new(config, &o.backbone.target_modules(), SEED.part("second"), Trainability::Trainable).unwrap();
    o.stack.push("downstream", Box::new(lora), Activity::Active).unwrap();
    o
}

#[test]
fn first_adapter_merged_or_kept_leads_the_second_to_the_same_place() {
    let mut first = language();
    train(&mut first, &plan(10, 1), settings(), tempfile::tempdir().unwrap().path(), None);
    let ends = [false, true].map(|merged| {
        let mut o = second_step(&first.stack, merged);
        let start = o.evaluate(&o.data, 64, &GO).unwrap().logits;
        train(&mut o, &plan(5, 1), settings(), tempfile::tempdir().unwrap().path(), None);
        (start, o.evaluate(&o.data, 64, &GO).unwrap().logits, values(&o))
    });
    let (kept, merged) = (&ends[0], &ends[1]);
    assert!(kept.0.iter().zip(&kept.1).any(|(a, b)| (a - b).abs() > 0.1), "nothing was learned");
    for (a, b) in kept.1.iter().zip(&merged.1) {
        assert!((a - b).abs() < 1e-4, "logits {a} {b}");
    }
    assert_eq!(kept.2.len(), merged.2.len());
    for ((name, a), (_, b)) in kept.2.iter().zip(&merged.2) {
        for (x, y) in a.iter().zip(b) {
            assert!((x - y).abs() < 1e-3, "{name}: {x} {y}");
        }
    }
}

#[test]
fn best_epoch_is_the_one_that_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut o = classification();
    let (mut seen, mut scores) = (Vec::new(), [0.2, 0.9, 0.5].into_iter());
    let mut validate = |o: &Classification| {
        seen.push(values(o));
        Ok(Validation { score: scores.next().unwrap(), metrics: Default::default() })
    };
    let stop = AtomicBool::new(false);
    let plan = plan(3, 1);
    let (checkpoint, events) = (dir.path().join("s"), dir.path().join("e"));
    let run = Trainer {
        batches: &plan,
        settings: Settings { selection: Selection::BestValidation, ..settings() },
        checkpoint: &checkpoint,
        events: &events,
        validate: Some(&mut validate),
        on_event: &mut |_, _| (),
        stop: &stop,
    };
    let outcome = run.train(&mut o).unwrap();
    assert_eq!((outcome.epoch, outcome.score), (2, Some(0.9)));
    assert_eq!(values(&o), seen[1]);
}

#[test]
fn kept_features_give_the_same_scores() {
    let mut o = classification();
    o.stack.set_trainability("clinical", Trainability::Frozen).unwrap();
    assert!(o.only_the_head_learns());
    let plain = o.evaluate(&o.data, 40, &GO).unwrap();
    o.keep_training_features(40, &GO).unwrap();
    let kept = o.evaluate(&o.data, 40, &GO).unwrap();
    for (a, b) in plain.logits.iter().zip(&kept.logits) {
        assert!((a - b).abs() < 1e-5);
    }
}

#[test]
fn inactive_trainable_adapter_stops_the_first_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut o = classification();
    o.stack.set_activity("clinical", Activity::Inactive).unwrap();
    let stop = AtomicBool::new(false);
    let plan = plan(1, 1);
    let (checkpoint, events) = (dir.path().join("s"), dir.path().join("e"));
    let run = Trainer {
        batches: &plan,
        settings: settings(),
        checkpoint: &checkpoint,
        events: &events,
        validate: None,
        on_event: &mut |_, _| (),
        stop: &stop,
    };
    let e = run.train(&mut o).unwrap_err().to_string();
    assert!(e.contains("`clinical`") && e.contains("no gradient"), "{e}");
}

fn bert(learning: Trainability) -> Bert {
    let mut config = clinpeft_bert::Config::tiny(16, 16, 2, 2, 32);
    (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (0.1, 0.1);
    Bert::random(config, SEED.part("base"), learning).unwrap()
}

fn masked() -> MaskedModelling {
    let model = bert(Trainability::Trainable);
    let head = MaskedHead::random(model.config(), SEED.part("head"), Trainability::Trainable).unwrap();
    let masking = Masking { mask: 1, specials: vec![0, 1, 2], vocabulary: 16 };
    MaskedModelling { model, head, stack: Stack::new(), data: sequences(24), masking }
}

/// A BERT on a task: with LoRA, or learning as a whole.
fn bert_classification(learning: Trainability) -> Classification {
    let base = bert(learning);
    let mut o = classification();
    o.stack = Stack::new();
    if learning == Trainability::Frozen {
        let targets = vec!["query".into(), "value".into()];
        let config = LoraConfig { r: 2, alpha: 4.0, dropout: 0.1, targets, scaling: Scaling::Standard };
        let lora = Lora::new(config, &base.target_modules(), SEED.part("lora"), Trainability::Trainable).unwrap();
        o.stack.push("downstream", Box::new(lora), Activity::Active).unwrap();
    }
    o.backbone = Box::new(base);
    o.head.classifier = o.head.classifier.with_zero_bias().unwrap();
    o.pooling = Pooling::FirstToken;
    o
}

#[test]
fn loss_of_masked_tokens_falls() {
    let dir = tempfile::tempdir().unwrap();
    let mut o = masked();
    let rows: Vec<usize> = (0..24).collect();
    let mean = |o: &MaskedModelling| {
        let part = o.loss(&rows, &clinpeft_nn::ForwardCtx::evaluate()).unwrap();
        part.loss.value().item().unwrap() / o.denominator(&rows)
    };
    let before = mean(&o);
    train(&mut o, &plan(60, 1), settings(), dir.path(), None);
    assert!(mean(&o) < before - 0.3, "{} -> {}", before, mean(&o));
}

#[test]
fn bert_stopped_and_resumed_equals_uninterrupted_to_the_bit() {
    fn check<O: Objective>(new: impl Fn() -> O) {
        let (calm, rough) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mut whole, mut parts) = (new(), new());
        train(&mut whole, &plan(2, 2), settings(), calm.path(), None);
        assert!(!train(&mut parts, &plan(2, 2), settings(), rough.path(), Some(2)).finished);
        let mut again = new();
        assert!(train(&mut again, &plan(2, 2), settings(), rough.path(), None).finished);
        assert_eq!(values(&whole), values(&again));
    }
    check(masked);
    check(|| bert_classification(Trainability::Trainable));
    check(|| bert_classification(Trainability::Frozen));
}

#[test]
fn full_fine_tuning_moves_the_base_and_lora_leaves_it() {
    for learning in [Trainability::Trainable, Trainability::Frozen] {
        let dir = tempfile::tempdir().unwrap();
        let mut o = bert_classification(learning);
        let base = |o: &Classification| -> Vec<Vec<f64>> {
            o.backbone.parameters().iter().map(|p| p.value().to_f64_vec().unwrap()).collect()
        };
        let (before, counted) = (base(&o), o.parameters().iter().map(|(_, p)| p.value().count()).sum::<usize>());
        train(&mut o, &plan(1, 1), settings(), dir.path(), None);
        let moved = base(&o).iter().zip(&before).filter(|(a, b)| a != b).count();
        let status = o.status(None);
        assert_eq!(status.iter().map(|s| s.parameters).sum::<usize>(), counted);
        // Two classes with their biases; query and value of two layers, r = 2.
        let head = 2 * 17;
        match learning {
            Trainability::Trainable => {
                assert_eq!(moved, before.len(), "every tensor has moved");
                assert_eq!((status[0].name.as_str(), counted - head), ("(base)", o.backbone.parameter_count()));
            }
            Trainability::Frozen => {
                assert_eq!(moved, 0);
                assert_eq!(counted - head, 2 * 2 * 2 * (16 + 16), "the pooler stays as it is");
            }
        }
    }
}

#[test]
fn neighbours_in_a_batch_do_not_change_the_scores_of_a_bert() {
    let o = bert_classification(Trainability::Frozen);
    let (together, alone) = (o.evaluate(&o.data, 1000, &GO).unwrap(), o.evaluate(&o.data, 1, &GO).unwrap());
    for (a, b) in together.logits.iter().zip(&alone.logits) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}
