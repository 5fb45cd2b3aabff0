//! Model folders as hubs hold them load, and load the same after `convert`.

#![allow(clippy::unwrap_used, reason = "tests")]

use assert_cmd::cargo::cargo_bin;
use clinpeft_bert::{Bert, MaskedHead};
use clinpeft_experiment::models::convert::convert;
use clinpeft_llama::Llama;
use clinpeft_nn::{Backbone, Parameter};
use clinpeft_tensor::{DType, Device};
use clinpeft_text::Tokenizer;
use clinpeft_weights::{Checkpoint, Keep};
use std::path::{Path, PathBuf};
use std::process::Command;

const LARGE: u64 = 1 << 30;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hub").join(name)
}

fn same<'a>(before: impl IntoIterator<Item = &'a Parameter>, after: impl IntoIterator<Item = &'a Parameter>) {
    let values = |p: &'a Parameter| {
        let value = p.value().cast(DType::F64).unwrap();
        (p.name().to_string(), p.value().dtype(), value.dims().to_vec(), value.as_slice::<f64>().unwrap().to_vec())
    };
    let (before, after): (Vec<_>, Vec<_>) =
        (before.into_iter().map(values).collect(), after.into_iter().map(values).collect());
    assert!(before.len() > 10);
    assert_eq!(before, after);
}

/// Every tensor that was not dropped, by its new name.
fn same_bytes(before: &Path, after: &Path, name: impl Fn(&str) -> String) {
    let (before, after) = (Checkpoint::open(before).unwrap(), Checkpoint::open(after).unwrap());
    for (old, stored) in
        before.tensors().iter().filter(|(n, _)| !n.ends_with("position_ids") && !n.ends_with("inv_freq"))
    {
        let keep = Keep::As(DType::F64);
        let read = |file: &Checkpoint, name: &str| file.tensor(name, &stored.dims, keep).unwrap();
        let (a, b) = (read(&before, old), read(&after, &name(old)));
        assert_eq!(a.as_slice::<f64>().unwrap(), b.as_slice::<f64>().unwrap(), "{old}");
        assert_eq!(stored.dtype, after.tensors()[&name(old)].dtype);
    }
}

/// Files by name, without the seal.
fn names(dir: &Path) -> Vec<String> {
    let files = clinpeft_files::walk(dir).unwrap();
    let names = files.iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_string());
    names.filter(|name| name != clinpeft_files::SEAL).collect()
}

#[test]
fn an_old_bert_folder_is_the_same_model_after_conversion() {
    let (old, dir) = (fixture("bert"), tempfile::tempdir().unwrap());
    let new = dir.path().join("new");
    let done = convert(&old, &new, LARGE).unwrap();
    assert_eq!(names(&new), ["config.json", "model.safetensors", "tokenizer.json"]);
    let load = |dir: &Path| Bert::load(dir, Keep::Stored, &Device::Cpu).unwrap();
    same(load(&old).parameters(), load(&new).parameters());
    let head = |dir: &Path| MaskedHead::load(dir, Keep::Stored, &Device::Cpu).unwrap();
    assert_eq!(head(&old).parameters().len(), head(&new).parameters().len());
    let modern = |n: &str| n.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias");
    same_bytes(&old, &new, modern);
    assert_eq!(done.renamed.len(), 8);
    assert!(
        done.renamed.contains(&("bert.embeddings.LayerNorm.gamma".into(), "bert.embeddings.LayerNorm.weight".into()))
    );
    assert_eq!(done.dropped, ["bert.embeddings.position_ids"]);
    assert_eq!(done.unread, ["cls.seq_relationship.bias", "cls.seq_relationship.weight"]);
    let hash = |dir: &Path| Tokenizer::open(dir).unwrap().hash().to_string();
    assert_eq!(hash(&old), hash(&new));
}

#[test]
fn a_sharded_llama_folder_is_the_same_model_after_conversion_into_any_shards() {
    let (old, dir) = (fixture("llama"), tempfile::tempdir().unwrap());
    let load = |dir: &Path| Llama::load(dir, Keep::Stored, &Device::Cpu).unwrap();
    for (limit, files) in [(LARGE, 3), (8_000, 6), (1, 15)] {
        let new = dir.path().join(limit.to_string());
        let done = convert(&old, &new, limit).unwrap();
        assert_eq!(done.dropped, ["model.layers.0.self_attn.rotary_emb.inv_freq"]);
        assert!(done.renamed.is_empty() && done.unread.is_empty() && done.tokenizer);
        assert_eq!(names(&new).len(), files, "{:?}", names(&new));
        same(load(&old).parameters(), load(&new).parameters());
        same_bytes(&old, &new, str::to_string);
    }
}

#[test]
fn a_folder_that_cannot_be_converted_leaves_nothing_behind_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    std::fs::create_dir(&old).unwrap();
    let said = || {
        let out = Command::new(cargo_bin("clinpeft")).arg("convert").arg(&old).arg("--out").arg(&new).output().unwrap();
        assert_eq!(out.status.code(), Some(1));
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["old"]);
        String::from_utf8(out.stderr).unwrap()
    };
    let expect = |what: &str| {
        let message = said();
        assert!(message.contains(what) && message.contains("hint: "), "{message}");
    };
    let copy = |name: &str| std::fs::copy(fixture("llama").join(name), old.join(name)).unwrap();
    expect("config.json`: not found");
    std::fs::write(old.join("config.json"), r#"{"model_type": "gpt2"}"#).unwrap();
    expect("`model_type` is `gpt2`");
    copy("config.json");
    expect("looked for model.safetensors, pytorch_model.bin");
    copy("pytorch_model-00001-of-00002.bin");
    expect("but no index");
    copy("pytorch_model.bin.index.json");
    expect("names 1 files that are not beside it, the first `pytorch_model-00002-of-00002.bin`");
    let second = old.join("pytorch_model-00002-of-00002.bin");
    std::fs::write(&second, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n").unwrap();
    expect("git lfs pull");
    let whole = std::fs::read(fixture("llama").join("pytorch_model-00002-of-00002.bin")).unwrap();
    std::fs::write(&second, &whole[..whole.len() / 2]).unwrap();
    expect("not a whole zip archive");
}

#[test]
fn a_folder_that_holds_anything_is_never_written_to() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.txt"), "mine").unwrap();
    let error = convert(&fixture("bert"), dir.path(), LARGE).unwrap_err().to_string();
    assert!(error.contains("is not empty") && error.contains("\nhint: "), "{error}");
    assert_eq!(names(dir.path()), ["mine.txt"]);
}

#[test]
fn the_program_says_what_was_renamed_and_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (fixture("bert"), dir.path().join("new"));
    let out = Command::new(cargo_bin("clinpeft")).arg("convert").arg(old).arg("--out").arg(new).output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{said}");
    for line in [
        "renamed bert.embeddings.LayerNorm.gamma to bert.embeddings.LayerNorm.weight",
        "dropped bert.embeddings.position_ids",
        "kept cls.seq_relationship.bias, which no model here reads",
        "tokenizer.json",
    ] {
        assert!(said.contains(line), "{said}");
    }
}
