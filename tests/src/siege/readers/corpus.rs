//! The corpus: small valid files of every form, made by the project itself, and inputs that once failed.
//!
//! ```text
//! tests/corpus/<form>/<sample>/...   a valid folder of that form
//! tests/corpus/<form>/once-<what>/   a folder that a reader once failed on
//! ```

use super::tiny;
use crate::siege::tree;
use crate::siege::world::{self, World};
use clinpeft_experiment::AdapterSpec;
use clinpeft_nn::{Backbone, Classifier, Trainability};
use clinpeft_peft::{Activity, AdapterBundle, Head, save_adapter};
use clinpeft_report::predictions::{Labels, Predictions};
use clinpeft_rng::Seed;
use clinpeft_text::{Cache, Encoder, Specials, Tokenizer, TokenizerKind, Truncation};
use clinpeft_weights::{Checkpoint, Dtype, Raw, TensorMap, encode_raw, save};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the corpus is in the repository.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The samples of a form, in order.
///
/// # Errors
/// A form without a folder.
pub fn samples(form: &str) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder().join(form))?;
    let mut all: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
    all.sort();
    Ok(all)
}

/// Whether a sample is an input that a reader once failed on.
pub fn once_failed(sample: &Path) -> bool {
    sample.file_name().is_some_and(|n| n.to_string_lossy().starts_with("once-"))
}

/// Makes everything in `to` but what other programs wrote (pickles, SentencePiece).
///
/// # Errors
/// Whatever could not be written.
pub fn make(world: &World, to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let model = tiny::model()?;
    let weights: TensorMap = model.parameters().iter().map(|p| (p.name().to_string(), p.value().clone())).collect();
    models(&weights, to)?;
    adapters(&model, to)?;
    let mixed = [
        ("f32", Dtype::F32, 4),
        ("bf16", Dtype::BF16, 2),
        ("f16", Dtype::F16, 2),
        ("i64", Dtype::I64, 8),
        ("u8", Dtype::U8, 1),
    ];
    let raw = |(name, dtype, width): (&str, Dtype, u8)| {
        let bytes = (0..6 * width).collect();
        (name.to_string(), Raw { dtype, dims: vec![2, 3], bytes })
    };
    clinpeft_files::write_atomic(&to.join("notes/plain/notes.csv"), world::notes(6, true))?;
    let path = to.join("safetensors/mixed/model.safetensors");
    let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    clinpeft_files::write_atomic(&path, encode_raw(&path, &mixed.into_iter().map(raw).collect(), &metadata)?)?;
    predictions(to)?;
    tokens(to)?;
    let checkpoint = to.join("checkpoint/after-two-steps");
    fs::create_dir_all(&checkpoint)?;
    tiny::go_on(&checkpoint, false)?;
    for (name, beginning) in [("base", "base-llama"), ("adaptation", "llama-lora"), ("task", "llama-clinical")] {
        tree::copy(&world.run_of(beginning)?.join("run.toml"), &to.join("run").join(name).join("run.toml"))?;
    }
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets");
    for (from, name) in
        [("cohorts/smoke.toml", "cohort"), ("matrix.toml", "matrix"), ("profiles/smoke.toml", "profile")]
    {
        tree::copy(&data.join(from), &to.join("settings").join(name).join(format!("{name}.toml")))?;
    }
    tree::copy(&world.part("data/manifest.json"), &to.join("settings/manifest/manifest.json"))?;
    Ok(())
}

fn models(weights: &TensorMap, to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let folder = to.join("llama/plain");
    fs::create_dir_all(&folder)?;
    save(&folder.join("model.safetensors"), weights, &BTreeMap::new())?;
    clinpeft_files::write_json(&folder.join("config.json"), &tiny::config())?;
    let names = weights.keys().map(|name| (name.clone(), name.clone())).collect();
    let shards = to.join("shards/three");
    fs::create_dir_all(&shards)?;
    Checkpoint::open(&folder)?.copy_to(&shards, &names, 1500)?;
    let config = clinpeft_bert::Config::tiny(16, 8, 1, 2, 16);
    let bert = clinpeft_bert::Bert::random(config.clone(), Seed(1), Trainability::Frozen)?;
    let folder = to.join("bert/plain");
    fs::create_dir_all(&folder)?;
    let weights: TensorMap = bert.parameters().iter().map(|p| (p.name().to_string(), p.value().clone())).collect();
    save(&folder.join("model.safetensors"), &weights, &BTreeMap::new())?;
    Ok(clinpeft_files::write_json(&folder.join("config.json"), &config)?)
}

/// One of every method, and a stack of two with a head.
fn adapters(model: &dyn Backbone, to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let settings = [
        (
            "lora",
            "method = 'lora'\nr = 2\nalpha = 4\ndropout = 0.0\ntargets = ['q_proj', 'v_proj']\nscaling = 'standard'",
        ),
        ("dora", "method = 'dora'\nr = 2\nalpha = 4\ndropout = 0.0\ntargets = ['q_proj']\nscaling = 'standard'"),
        (
            "adalora",
            "method = 'adalora'\ninitial_r = 3\ntarget_r = 2\nalpha = 4\ndropout = 0.0\ntargets = ['q_proj']\nfirst_steps = 1\n\
             last_steps = 1\nevery = 1\nbeta1 = 0.85\nbeta2 = 0.85\northogonality = 0.5",
        ),
        ("prompt", "method = 'prompt'\nvirtual_tokens = 2\nstart = 'random'"),
        ("prefix", "method = 'prefix'\nvirtual_tokens = 2\nsource = 'table'"),
        ("p-tuning", "method = 'p_tuning'\nvirtual_tokens = 2\ninner = 4\nencoder = 'mlp'"),
        ("adaptation-prompt", "method = 'adaptation_prompt'\nlength = 2\nlayers = 2"),
    ];
    for (name, text) in settings {
        let settings: AdapterSpec = toml::from_str(text)?;
        let adapter = settings.build(model, Seed(3), Trainability::Trainable)?;
        let folder = to.join("adapter").join(name);
        fs::create_dir_all(&folder)?;
        save_adapter(&folder, &*adapter, None, &TensorMap::new())?;
    }
    let mut bundle = AdapterBundle::default();
    for name in ["clinical", "downstream"] {
        bundle.stack.push(name, Box::new(tiny::lora(name)?), Activity::Active)?;
    }
    let classifier = Classifier::new(2, 8, &mut Seed(2).stream("head"))?;
    bundle.head = Some(Head { classifier, labels: vec!["NO".into(), "YES".into()] });
    bundle.provenance.insert("base".into(), "abc".into());
    let folder = to.join("stack/two");
    bundle.save(&folder)?;
    // Of the corpus no checksum is kept: all that a reader sees is to be changed.
    fs::remove_file(folder.join(clinpeft_files::SEAL))?;
    let one = to.join("safetensors/adapter/model.safetensors");
    Ok(tree::copy(&to.join("adapter/lora/adapter_model.safetensors"), &one)?)
}

fn predictions(to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let sets = Predictions {
        id_key: None,
        ids: vec![1, 2, u64::MAX],
        subjects: vec![7, 7, 8],
        labels: Labels::Sets(vec![0, 1, 1, 0, 0, 0]),
        scores: vec![0.25, 0.5, 0.75, 1.0, 0.1, 0.2],
        decisions: Some(vec![0, 1, 1, 1, 0, 0]),
        columns: 2,
        names: vec!["a".into(), "b".into()],
    };
    let (labels, scores) = (Labels::Classes(vec![0, 1, 1]), vec![0.25, 0.5, 0.75]);
    let binary = Predictions { labels, scores, decisions: None, columns: 1, ..sets.clone() };
    let classes = Predictions { labels: Labels::Classes(vec![0, 1, 1]), decisions: None, ..sets.clone() };
    for (name, rows) in [("sets", sets), ("binary", binary), ("classes", classes)] {
        let path = to.join("predictions").join(name).join("predictions.safetensors");
        rows.write(&path, "mortality", "test")?;
    }
    Ok(())
}

fn tokens(to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let texts: Vec<String> = (0..20).map(|i| format!("the patient was stable on day {i} and had no fever")).collect();
    for (name, kind) in [("bpe", TokenizerKind::ByteFallback), ("word-piece", TokenizerKind::WordPiece)] {
        let tokenizer = Tokenizer::train(texts.iter(), 300, kind)?;
        let folder = to.join("tokenizer").join(name);
        fs::create_dir_all(&folder)?;
        tokenizer.save(&folder.join("tokenizer.json"))?;
    }
    let folder = to.join("tokens/bpe");
    fs::create_dir_all(&folder)?;
    tree::copy(&to.join("tokenizer/bpe/tokenizer.json"), &folder.join("tokenizer.json"))?;
    let tokenizer = Tokenizer::open(&folder)?;
    let mut encoder = Encoder::new(&tokenizer, Specials::None, Truncation::First { length: 32 })?;
    encoder.push(&texts[..4])?;
    let sequences = encoder.finish();
    let (cache, key) = (Cache::new(&folder), tiny::key(&tokenizer));
    cache.store(&key, &sequences)?;
    Ok(fs::rename(cache.path(&key), folder.join("tokens.safetensors"))?)
}
