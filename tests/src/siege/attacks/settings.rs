//! Settings that make no sense: absurd numbers, names that lead elsewhere.

use crate::siege::child::{Call, Ended, Sent};
use crate::siege::deeds;
use crate::siege::tree;
use crate::siege::trial::Trial;
use clinpeft_experiment::RunSpec;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::time::Duration;

/// Numbers and other values as TOML and JSON both write them.
const ABSURD: [&str; 22] = [
    "0",
    "-1",
    "1",
    "3",
    "65537",
    "2147483648",
    "1000000000000",
    "1000000000000000000",
    "4611686018427387904",
    "9223372036854775807",
    "1e308",
    "-1e308",
    "1e-308",
    "0.0",
    "-0.5",
    "1.5",
    "\"\"",
    "\"../../x\"",
    "[]",
    "true",
    "nan",
    "inf",
];

/// Places of `run.toml` that hold a number, a name or a list.
const PLACES: [&str; 24] = [
    "seed",
    "bootstrap_resamples",
    "tokens.max_length",
    "tokens.packing.policy",
    "training.learning_rate",
    "training.warmup_ratio",
    "training.epochs",
    "training.batch_sequences",
    "training.micro_tokens",
    "training.micro_sequences",
    "training.weight_decay",
    "training.clip",
    "training.patience",
    "training.memory",
    "stack.0.adapter.r",
    "stack.0.adapter.alpha",
    "stack.0.adapter.dropout",
    "stack.0.adapter.targets",
    "stack.0.name",
    "stack.0.from",
    "base.run",
    "base.folder",
    "table",
    "row",
];

/// A setting may be large and still make sense, so that the run is long: it is then told to stop, and stops.
fn bounded(trial: &mut Trial<'_>, call: &Call) -> io::Result<Ended> {
    let ended = trial.call_sent(call, Some(Sent { signal: Signal::TERM, after: Duration::from_secs(8) }))?;
    trial.expect_code(&ended, &[0, 1, 2, 130]);
    Ok(ended)
}

fn toml_value(text: &str) -> Option<toml::Value> {
    format!("v = {text}").parse::<toml::Table>().ok()?.remove("v")
}

/// Puts a value at a place of dotted keys and indices; false if nothing leads there.
fn put(value: &mut toml::Value, place: &str, new: toml::Value) -> bool {
    let Some((first, rest)) = place.split_once('.') else {
        return value.as_table_mut().map(|t| t.insert(place.into(), new)).is_some();
    };
    let next = match first.parse::<usize>() {
        Ok(i) => value.as_array_mut().and_then(|a| a.get_mut(i)),
        Err(_) => value.as_table_mut().and_then(|t| t.get_mut(first)),
    };
    next.is_some_and(|next| put(next, rest, new))
}

/// A `run.toml` with an absurd value, in a folder that has the name it then must have.
pub(super) fn run_toml(trial: &mut Trial<'_>) -> io::Result<()> {
    trial.bring("store", "out")?;
    let runs = ["llama-clinical-llama-lora-trainable", "llama-lora", "base-llama"];
    let run = crate::siege::world::named(&trial.path("out/runs"), runs[trial.draw.below(3)])?;
    let text = fs::read_to_string(run.join("run.toml"))?;
    let mut spec: toml::Value = toml::from_str(&text).map_err(io::Error::other)?;
    for _ in 0..=trial.draw.below(2) {
        let place = trial.draw.word(&PLACES);
        if let Some(value) = toml_value(trial.draw.word(&ABSURD)) {
            put(&mut spec, place, value);
        }
    }
    if trial.draw.one_in(4) {
        for place in ["base.width", "base.layers", "base.heads", "base.vocabulary", "base.paragraphs", "base.positions"]
        {
            if let Some(value) = toml_value(trial.draw.word(&ABSURD)).filter(|_| trial.draw.one_in(3)) {
                put(&mut spec, place, value);
            }
        }
    }
    let written = trial.path("out/run.toml");
    fs::write(&written, toml::to_string(&spec).map_err(io::Error::other)?)?;
    let name = RunSpec::load(&written).and_then(|spec| spec.folder_name());
    let folder = trial.path("out/runs").join(name.unwrap_or_else(|_| "refused".into()));
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::rename(&written, folder.join("run.toml"))?;
    let inside = folder.strip_prefix(&trial.dir).unwrap_or(&folder).to_string_lossy().into_owned();
    trial.calls.push(format!("# run.toml: {}", toml::to_string(&spec).unwrap_or_default().replace('\n', "; ")));
    bounded(trial, &Call::new(["run", &inside, "--threads", "1"]))?;
    trial.expect_whole("out")
}

/// `--set` with an absurd value.
pub(super) fn set(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = deeds::deed(["adapt", "finetune"][trial.draw.below(2)]);
    deed.begin(trial.world, &trial.dir)?;
    let mut call = deed.call(trial.world)?;
    for _ in 0..=trial.draw.below(2) {
        let place =
            trial.draw.word(&PLACES).replace("stack.0.", ["stack.clinical.", "stack.downstream."][trial.draw.below(2)]);
        let value = trial.draw.word(&ABSURD);
        call.words.extend(["--set".into(), format!("{place}={value}")]);
    }
    bounded(trial, &call)?;
    trial.expect_whole("out")
}

/// A JSON file with some absurd values.
fn spoil(trial: &mut Trial<'_>, name: &str, keys: &[&str]) -> io::Result<()> {
    let path = trial.path(name);
    let mut value: Value = serde_json::from_slice(&fs::read(&path)?)?;
    let mut said = String::new();
    for _ in 0..=trial.draw.below(3) {
        let key = *trial.draw.pick(keys);
        let text = trial.draw.word(&ABSURD);
        let new = match text {
            "nan" => json!("NaN"),
            "inf" => json!({"type": "linear", "factor": 1e308}),
            other => serde_json::from_str(other)?,
        };
        said += &format!(" {key}={new}");
        value[key] = new;
    }
    trial.calls.push(format!("# {name}:{said}"));
    fs::write(path, serde_json::to_vec_pretty(&value)?)
}

/// `config.json` of a model.
pub(super) fn config(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = deeds::deed(["adapt", "finetune", "merge", "convert", "convert-bert"][trial.draw.below(5)]);
    deed.begin(trial.world, &trial.dir)?;
    let _ = fs::remove_file(trial.path("in/model").join(clinpeft_files::SEAL));
    let keys = [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
        "vocab_size",
        "rms_norm_eps",
        "layer_norm_eps",
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
        "type_vocab_size",
        "tie_word_embeddings",
        "model_type",
        "hidden_act",
    ];
    spoil(trial, "in/model/config.json", &keys)?;
    let call = deed.call(trial.world)?;
    bounded(trial, &call)?;
    trial.expect_whole("out")
}

/// `adapter_config.json` of an adapter.
pub(super) fn adapter(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = deeds::deed("merge");
    deed.begin(trial.world, &trial.dir)?;
    let run = crate::siege::world::named(&trial.path("in/own/runs"), "model-lora-seed")?;
    let unit = run.join("adapter");
    let _ = fs::remove_file(unit.join(clinpeft_files::SEAL));
    let inside = unit.strip_prefix(&trial.dir).unwrap_or(&unit).to_string_lossy().into_owned();
    let keys = ["r", "lora_alpha", "lora_dropout", "target_modules", "peft_type", "use_rslora", "rank_pattern", "bias"];
    if trial.draw.one_in(3) {
        spoil(trial, &format!("{inside}/stack.json"), &["adapters", "format", "labels", "provenance"])?;
    } else {
        spoil(trial, &format!("{inside}/clinical/adapter_config.json"), &keys)?;
    }
    let call = deed.call(trial.world)?;
    bounded(trial, &call)?;
    trial.expect_whole("out")
}

/// Names that lead out of a folder, are too long, or are no names.
pub(super) fn names(trial: &mut Trial<'_>) -> io::Result<()> {
    let long = "n".repeat(300);
    let names =
        ["../../escaped", "/tmp/escaped", "", ".", "..", "a\nb\u{1b}[2Jc", "\u{202e}x", "a/b", &long, "-", "é", "CON"];
    let name = *trial.draw.pick(&names);
    let deed = deeds::deed(["adapt", "finetune"][trial.draw.below(2)]);
    deed.begin(trial.world, &trial.dir)?;
    let mut call = deed.call(trial.world)?;
    let before: Vec<_> = fs::read_dir(&trial.dir)?.map(|e| e.map(|e| e.file_name())).collect::<io::Result<_>>()?;
    let other = |words: &[&str]| Call::new(words.iter().map(ToString::to_string));
    let run = format!("out/runs/{name}");
    match trial.draw.below(8) {
        0..=2 => call.words.extend(["--name".into(), name.into()]),
        3 => call = other(&["reproduce", "--profile", name, "--out", "out"]),
        4 => call = other(&["synth", "--cohort", name, "--out", "out/raw"]),
        5 => call = other(&["reproduce", "--profile", "smoke", "--only", name, "--dry-run", "--out", "out"]),
        6 => call = other(&["run", &run]),
        _ => call = other(&["predict", "--run", &run, "--input", "in/notes.csv", "--out", "out/scores.csv"]),
    }
    bounded(trial, &call)?;
    let after = fs::read_dir(&trial.dir)?.map(|e| e.map(|e| e.file_name())).collect::<io::Result<Vec<_>>>()?;
    let new = after.iter().find(|n| !before.contains(n) && *n != "tmp");
    trial.expect(new.is_none(), || format!("{new:?} was written outside of `out`"));
    let escaped = ["/tmp/escaped", "/escaped"].into_iter().find(|p| fs::symlink_metadata(p).is_ok());
    trial.expect(escaped.is_none(), || format!("{escaped:?} was written"));
    let outside = trial.dir.parent().map(|p| p.join("escaped"));
    trial.expect(outside.is_none_or(|p| !p.exists()), || "a file was written outside of the trial's folder".into());
    let controls =
        tree::files(&trial.path("out"))?.into_iter().find(|p| p.to_string_lossy().chars().any(char::is_control));
    trial.expect(controls.is_none(), || format!("{controls:?} has a name with control characters"));
    trial.expect_whole("out")
}
