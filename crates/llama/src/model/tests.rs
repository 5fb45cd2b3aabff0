use super::*;
use clinpeft_nn::{NoAdapters, PrepackMode, prepack_weights};
use clinpeft_tensor::Precision;
use clinpeft_tensor::gemm::{PrepackPolicy, isa};

fn model() -> Llama {
    let mut c = Config::tiny(32, 16, 2, 4, 64);
    c.num_key_value_heads = Some(2);
    Llama::random(c, Seed(3), Trainability::Frozen).unwrap()
}

fn logits(m: &Llama, sequences: &[Vec<u32>], hooks: Arc<dyn AdapterHooks>) -> Vec<f64> {
    let batch = RaggedBatch::from_sequences(sequences).unwrap();
    let h = m.hidden(&batch, &hooks, &ForwardCtx::evaluate(), HiddenRows::All).unwrap();
    m.logits(&h).unwrap().value().to_f64_vec().unwrap()
}

#[test]
fn neighbours_in_a_batch_change_nothing() {
    let m = model();
    let (a, b) = (vec![1, 5, 9, 2], vec![3, 3, 7]);
    let together = logits(&m, &[a.clone(), b.clone()], Arc::new(NoAdapters));
    let alone = [logits(&m, &[a], Arc::new(NoAdapters)), logits(&m, &[b], Arc::new(NoAdapters))].concat();
    for (x, y) in together.iter().zip(&alone) {
        assert!((x - y).abs() < 1e-6);
    }
}

#[test]
fn pooled_rows_are_those_of_the_full_result() {
    let m = model();
    let batch = RaggedBatch::from_sequences(&[vec![1, 5, 9, 2], vec![3, 3, 7], vec![8]]).unwrap();
    let pad = PadProbe { sequence: 1, sees: 3, id: 0, position: 3 };
    let batch = batch.with_pad_probes(vec![pad]).unwrap();
    for (pooling, rows) in
        [(Pooling::LastToken, [3, 6, 7]), (Pooling::LastPosition, [3, 8, 7]), (Pooling::FirstToken, [0, 4, 7])]
    {
        let hooks: Arc<dyn AdapterHooks> = Arc::new(NoAdapters);
        let run =
            |want| m.hidden(&batch, &hooks, &ForwardCtx::evaluate(), want).unwrap().rows.value().to_f64_vec().unwrap();
        let (all, pooled) = (run(HiddenRows::All), run(HiddenRows::Pooled(pooling)));
        for (i, r) in rows.iter().enumerate() {
            for j in 0..16 {
                assert!((all[r * 16 + j] - pooled[i * 16 + j]).abs() < 1e-5, "{pooling:?} {r}");
            }
        }
    }
}

#[test]
fn later_tokens_do_not_change_earlier_logits() {
    let m = model();
    let long = logits(&m, &[vec![1, 5, 9, 2, 8]], Arc::new(NoAdapters));
    let short = logits(&m, &[vec![1, 5, 9]], Arc::new(NoAdapters));
    for (x, y) in short.iter().zip(&long) {
        assert!((x - y).abs() < 1e-6);
    }
}

#[test]
fn cached_packs_change_no_bit_and_a_mapped_file_is_read_again() {
    // A vocabulary that no kernel multiplies without packing.
    let m = Llama::random(Config::tiny(700, 16, 2, 4, 64), Seed(3), Trainability::Frozen).unwrap();
    let dir = tempfile::tempdir().unwrap();
    m.save(dir.path()).unwrap();
    let hooks: Arc<dyn AdapterHooks> = Arc::new(NoAdapters);
    let batch = RaggedBatch::from_sequences(&[(0..60).collect()]).unwrap();
    for precision in [Precision::StrictF32, Precision::F32, Precision::Bf16] {
        let run = |policy: PrepackMode| {
            let mut m = Llama::load(dir.path(), Keep::Stored, &Device::Cpu).unwrap();
            for p in m.parameters_mut() {
                let value = p.value().clone().with_precision(precision);
                p.set_value(value);
            }
            let choice = prepack_weights(&mut m, policy).unwrap();
            let hidden = m.hidden(&batch, &hooks, &ForwardCtx::evaluate(), HiddenRows::All).unwrap();
            let x = Var::leaf(hidden.rows.value().clone());
            let (loss, _) = m.language_loss(&Hidden { rows: x.clone(), ..hidden }, &batch).unwrap();
            let gradient = clinpeft_autodiff::backward(&loss).unwrap().of(&x).unwrap().to_f64_vec().unwrap();
            (choice, loss.value().item().unwrap(), gradient, logits(&m, &[vec![1, 699]], hooks.clone()))
        };
        let (none, loss, gradient, after) = run(PrepackMode::Fixed(PrepackPolicy::PerCall));
        assert_eq!(none.bytes, 0);
        let measured = PrepackMode::Measured { rows: 60, free: u64::MAX };
        for policy in [PrepackMode::Fixed(PrepackPolicy::Cached), measured] {
            let (choice, l, g, a) = run(policy);
            assert!(l == loss && g == gradient && a == after, "{precision:?} {policy:?}");
            let none = choice.packing == PrepackPolicy::PerCall || isa(precision) == "gemm";
            assert_eq!(none, choice.bytes == 0, "{choice:?}");
        }
        assert_eq!(run(PrepackMode::Measured { rows: 60, free: 0 }).0.packing, PrepackPolicy::PerCall);
    }
}

#[test]
fn pooled_rows_behind_a_window_are_those_of_the_full_result() {
    let family = Config { model_type: "mistral".into(), sliding_window: Some(Some(3)), ..model().config().clone() };
    let m = Llama::random(family, Seed(3), Trainability::Frozen).unwrap();
    let batch = RaggedBatch::from_sequences(&[vec![1, 5, 9, 2, 8, 4], vec![3, 3, 7, 6]]).unwrap();
    let prompt = Prompt(Var::constant(Tensor::from_vec(vec![0.1f32; 2 * 16], &[2, 16]).unwrap()));
    let hooks: [Arc<dyn AdapterHooks>; 3] = [Arc::new(NoAdapters), Arc::new(Prefix), Arc::new(prompt)];
    for (hooks, rows) in hooks.iter().zip([[5, 9], [5, 9], [7, 13]]) {
        let run =
            |want| m.hidden(&batch, hooks, &ForwardCtx::evaluate(), want).unwrap().rows.value().to_f64_vec().unwrap();
        let (all, pooled) = (run(HiddenRows::All), run(HiddenRows::Pooled(Pooling::LastToken)));
        for (i, r) in rows.iter().enumerate() {
            let both = all[r * 16..(r + 1) * 16].iter().zip(&pooled[i * 16..(i + 1) * 16]);
            assert!(both.clone().all(|(x, y)| (x - y).abs() < 1e-5), "{both:?}");
        }
    }
}

#[test]
fn a_window_hides_what_is_before_it_layer_by_layer() {
    let changed = |window| {
        let family = Config { model_type: "mistral".into(), sliding_window: Some(window), ..model().config().clone() };
        let m = Llama::random(family, Seed(3), Trainability::Frozen).unwrap();
        let rows = |first| logits(&m, &[vec![first, 5, 9, 2, 8, 4, 4, 6]], Arc::new(NoAdapters));
        let (a, b) = (rows(1), rows(7));
        a.chunks(32).zip(b.chunks(32)).map(|(x, y)| x != y).collect::<Vec<_>>()
    };
    assert_eq!(changed(None), [true; 8]);
    assert_eq!(changed(Some(8)), [true; 8]);
    // Two layers of a window of three reach back by two tokens each.
    assert_eq!(changed(Some(3)), [true, true, true, true, true, false, false, false]);
    assert_eq!(changed(Some(1)), [true, false, false, false, false, false, false, false]);
}

#[test]
fn a_pad_probe_behind_the_window_is_an_error() {
    let family = Config { model_type: "mistral".into(), sliding_window: Some(Some(4)), ..model().config().clone() };
    let m = Llama::random(family, Seed(3), Trainability::Frozen).unwrap();
    let run = |position| {
        let batch = RaggedBatch::from_sequences(&[vec![1, 5, 9]]).unwrap();
        let batch = batch.with_pad_probes(vec![PadProbe { sequence: 0, sees: 3, id: 0, position }]).unwrap();
        let hooks: Arc<dyn AdapterHooks> = Arc::new(NoAdapters);
        m.hidden(&batch, &hooks, &ForwardCtx::evaluate(), HiddenRows::Pooled(Pooling::LastPosition))
    };
    run(3).unwrap();
    assert!(run(4).unwrap_err().to_string().contains("sliding window of 4 tokens\nhint: "));
}

#[test]
fn saved_model_loads_and_agrees() {
    let m = model();
    let dir = tempfile::tempdir().unwrap();
    m.save(dir.path()).unwrap();
    let again = Llama::load(dir.path(), Keep::Stored, &Device::Cpu).unwrap();
    let s = vec![vec![1, 2, 3]];
    assert_eq!(logits(&m, &s, Arc::new(NoAdapters)), logits(&again, &s, Arc::new(NoAdapters)));
    assert_eq!(again.parameter_count(), m.parameter_count());
}

#[test]
fn too_long_a_sequence_is_an_error() {
    let batch = RaggedBatch::from_sequences(&[vec![1; 65]]).unwrap();
    let hooks: Arc<dyn AdapterHooks> = Arc::new(NoAdapters);
    assert!(
        model()
            .hidden(&batch, &hooks, &ForwardCtx::evaluate(), HiddenRows::All)
            .unwrap_err()
            .to_string()
            .contains("longer")
    );
}

/// Rows of the embedding as a prompt: the same as writing those tokens.
struct Prompt(Var);
impl AdapterHooks for Prompt {
    fn inputs(&self, _: &ForwardCtx) -> Result<Option<Var>> {
        Ok(Some(self.0.clone()))
    }
}

#[test]
fn prompt_of_token_embeddings_equals_those_tokens() {
    let m = model();
    let rows = ops::embedding(m.embedding.var(), &Tensor::from_vec(vec![4u32, 6], &[2]).unwrap()).unwrap();
    let with_prompt = logits(&m, &[vec![1, 2], vec![3]], Arc::new(Prompt(rows)));
    let written = logits(&m, &[vec![4, 6, 1, 2], vec![4, 6, 3]], Arc::new(NoAdapters));
    for (x, y) in with_prompt.iter().zip(&written) {
        assert!((x - y).abs() < 1e-6);
    }
}

/// Zero values behind very negative scores cannot be seen, so such a prefix changes nothing but the positions.
struct Prefix;
impl AdapterHooks for Prefix {
    fn keys_values(&self, _: &ForwardCtx) -> Result<Option<Vec<(Var, Var)>>> {
        let zeros = Var::constant(Tensor::zeros(&[3, 8], DType::F32));
        Ok(Some(vec![(zeros.clone(), zeros); 2]))
    }
}

#[test]
fn prefix_is_seen_by_every_query() {
    let m = model();
    let with_prefix = logits(&m, &[vec![1, 2], vec![3]], Arc::new(Prefix));
    let plain = logits(&m, &[vec![1, 2], vec![3]], Arc::new(NoAdapters));
    // A zero key has weight like any other, so attention to real tokens shrinks in every row.
    for (x, y) in with_prefix.chunks(32).zip(plain.chunks(32)) {
        assert!(x.iter().zip(y).any(|(a, b)| (a - b).abs() > 1e-7));
    }
}

#[test]
fn pad_probes_change_no_token_and_see_what_a_token_there_would_see() {
    let m = model();
    let batch = RaggedBatch::from_sequences(&[vec![1, 5, 9], vec![2]]).unwrap();
    let seen = PadProbe { sequence: 0, sees: 3, id: 4, position: 3 };
    let hooks: Arc<dyn AdapterHooks> = Arc::new(NoAdapters);
    let run = |b: &RaggedBatch| {
        m.hidden(b, &hooks, &ForwardCtx::evaluate(), HiddenRows::All).unwrap().rows.value().to_f64_vec().unwrap()
    };
    let plain = run(&batch);
    let observed = run(&batch.clone().with_pad_probes(vec![seen]).unwrap());
    assert_eq!(observed.len(), plain.len() + 16);
    for (x, y) in plain.iter().zip(&observed) {
        assert!((x - y).abs() < 1e-6);
    }
    // A token there would also see itself, so the rows are close but not the same.
    let written = run(&RaggedBatch::from_sequences(&[vec![1, 5, 9, 4]]).unwrap());
    let (a, b) = (&observed[4 * 16..], &written[3 * 16..]);
    assert!(a.iter().zip(b).any(|(x, y)| (x - y).abs() > 1e-7));
}
