//! Which files of a model folder hold its weights.

use crate::limits::need_plain;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Index and single file of each form, the better first.
const FORMS: [(&str, &str); 2] =
    [("model.safetensors.index.json", "model.safetensors"), ("pytorch_model.bin.index.json", "pytorch_model.bin")];
/// Weights of other programs, by the end of the name.
const FOREIGN: [&str; 6] = [".h5", ".msgpack", ".pth", ".gguf", ".ckpt", ".ckpt.index"];

/// The files with weights, and every tensor that an index promises.
pub(crate) struct Files {
    pub paths: Vec<PathBuf>,
    pub promised: Vec<String>,
    /// The index, or else the only file.
    pub named_by: PathBuf,
}

/// Finds them. Errors say what was looked for, and what is there instead.
pub(crate) fn find(dir: &Path) -> Result<Files> {
    for (index, single) in FORMS.map(|(index, single)| (dir.join(index), dir.join(single))) {
        if index.is_file() {
            return read_index(dir, index);
        }
        if single.is_file() {
            return Ok(Files { paths: vec![single.clone()], promised: vec![], named_by: single });
        }
    }
    Err(nothing(dir))
}

fn read_index(dir: &Path, index: PathBuf) -> Result<Files> {
    let json: serde_json::Value = clinpeft_files::read_json(&index)?;
    let wrong = |what: &str| Error::Format { path: index.clone(), what: what.into() };
    let map = json["weight_map"].as_object().ok_or_else(|| wrong("has no `weight_map` object"))?;
    let names: BTreeSet<&str> = map.values().filter_map(|v| v.as_str()).collect();
    for name in map.keys() {
        need_plain(&index, name)?;
    }
    for name in &names {
        need_plain(&index, name)?;
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(wrong("names a shard outside of its folder"));
        }
    }
    let missing: Vec<String> = names.iter().filter(|n| !dir.join(n).is_file()).map(|n| n.to_string()).collect();
    if !missing.is_empty() {
        return Err(Error::NoShards { path: index, missing });
    }
    let paths = names.iter().map(|n| dir.join(n)).collect();
    Ok(Files { paths, promised: map.keys().cloned().collect(), named_by: index })
}

fn nothing(dir: &Path) -> Error {
    let none = |what: &str, hint: &str| Error::NoWeights { path: dir.into(), what: what.into(), hint: hint.into() };
    let folder = "give the folder that contains config.json and the weights";
    if !dir.is_dir() {
        return none(if dir.exists() { "is a file, not a folder" } else { "is missing" }, folder);
    }
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = names.map(|e| e.file_name().to_string_lossy().escape_debug().to_string()).collect();
    names.sort();
    let first = |fits: &dyn Fn(&str) -> bool| names.iter().find(|n| fits(n));
    if let Some(name) = first(&|n| n.contains("-00001-of-")) {
        let what = format!("holds the shard `{name}`, but no index");
        return none(&what, "copy the .index.json that was published with the shards");
    }
    if let Some(name) = first(&|n| FOREIGN.iter().any(|end| n.ends_with(end))) {
        let what = format!("holds `{name}`, which is not read, and no weights that are");
        return none(&what, "take the model's safetensors or PyTorch files");
    }
    if let Some(name) = first(&|n| dir.join(n).join("config.json").is_file()) {
        return none("holds no weights", &format!("give `{}`, which contains config.json", dir.join(name).display()));
    }
    none("holds no weights", folder)
}

#[cfg(test)]
mod tests {
    use crate::{Checkpoint, Error, Keep};
    use std::fs::write;
    use std::path::Path;

    fn sharded() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sharded")
    }

    #[test]
    fn pickled_shards_are_read_as_one_model() {
        let file = Checkpoint::open(&sharded()).unwrap();
        assert_eq!(file.tensor("a.weight", &[2, 2], Keep::Stored).unwrap().as_slice::<f32>().unwrap(), [1.0; 4]);
        let half = file.tensor("b.weight", &[3], Keep::Stored).unwrap();
        assert_eq!(half.as_slice::<half::f16>().unwrap(), [half::f16::from_f32(2.0); 3]);
    }

    #[test]
    fn a_folder_without_weights_says_what_is_there_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let said = |dir: &Path| {
            let error = Checkpoint::open(dir).unwrap_err();
            assert!(matches!(error, Error::NoWeights { .. }));
            error.to_string()
        };
        assert!(said(&dir.path().join("none")).contains("is missing; looked for model.safetensors"));
        assert!(said(dir.path()).contains("hint: give the folder that contains config.json"));
        std::fs::create_dir(dir.path().join("inner")).unwrap();
        write(dir.path().join("inner/config.json"), "{}").unwrap();
        assert!(said(dir.path()).contains("inner`, which contains config.json"));
        write(dir.path().join("tf_model.h5"), "").unwrap();
        assert!(said(dir.path()).contains("holds `tf_model.h5`, which is not read"));
        write(dir.path().join("pytorch_model-00001-of-00002.bin"), "").unwrap();
        let message = said(dir.path());
        assert!(
            message.contains("but no index; looked for") && message.contains("hint: copy the .index.json"),
            "{message}"
        );
        assert!(said(&dir.path().join("tf_model.h5")).contains("is a file, not a folder"));
    }

    #[test]
    fn an_index_that_promises_too_much_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let copy = |name: &str| std::fs::copy(sharded().join(name), dir.path().join(name)).unwrap();
        copy("pytorch_model.bin.index.json");
        copy("pytorch_model-00001-of-00002.bin");
        let error = Checkpoint::open(dir.path()).unwrap_err();
        assert!(
            matches!(&error, Error::NoShards { missing, .. } if missing[..] == ["pytorch_model-00002-of-00002.bin"])
        );
        assert!(error.to_string().contains("\nhint: the download or copy is incomplete"));
        copy("pytorch_model-00002-of-00002.bin");
        assert!(Checkpoint::open(dir.path()).is_ok());
        let index = r#"{"weight_map": {"c": "pytorch_model-00001-of-00002.bin"}}"#;
        write(dir.path().join("pytorch_model.bin.index.json"), index).unwrap();
        assert!(
            Checkpoint::open(dir.path()).unwrap_err().to_string().contains("names tensor `c`, which no shard holds")
        );
    }

    #[test]
    fn a_pointer_of_git_lfs_is_told_from_weights() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pytorch_model.bin", "model.safetensors"] {
            let text = "version https://git-lfs.github.com/spec/v1\noid sha256:1f\nsize 438000000\n";
            write(dir.path().join(name), text).unwrap();
            let error = Checkpoint::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("git lfs pull"), "{error}");
        }
    }
}
