//! Writing the tensors of an open folder as safetensors, one after the other.

use crate::{Checkpoint, Error, Result, Stored};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A tensor on its way: it is read when it is written, so that one at a time is in memory.
struct Passing<'a>(&'a Checkpoint, &'a Stored);

impl View for Passing<'_> {
    fn dtype(&self) -> Dtype {
        self.1.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.1.dims
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.0.bytes(self.1)
    }

    fn data_len(&self) -> usize {
        self.1.byte_length()
    }
}

impl Checkpoint {
    /// Writes tensors into the folder `dir` as Hugging Face does: `model.safetensors`, or, beyond `limit` bytes, shards
    /// with an index. `names` gives old and new names; tensors that it lacks are left out.
    ///
    /// The folder should be a temporary one: a failure leaves half of the files. Errors if a tensor is missing or two get
    /// one name.
    pub fn copy_to(&self, dir: &Path, names: &BTreeMap<String, String>, limit: u64) -> Result<()> {
        let mut shards: Vec<BTreeMap<&str, &Stored>> = vec![BTreeMap::new()];
        let (mut filled, mut total) = (0, 0);
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (old, new) in names {
            let stored = self.stored(old)?;
            let size = stored.byte_length() as u64;
            if filled > 0 && filled + size > limit {
                shards.push(BTreeMap::new());
                filled = 0;
            }
            (filled, total) = (filled + size, total + size);
            if places.insert(new, shards.len()).is_some() {
                let what = format!("holds two tensors that would be `{new}`");
                return Err(Error::Format { path: self.path().into(), what });
            }
            if let Some(last) = shards.last_mut() {
                last.insert(new, stored);
            }
        }
        let count = shards.len();
        let file = |i: usize| match count {
            1 => "model.safetensors".to_string(),
            n => format!("model-{i:05}-of-{n:05}.safetensors"),
        };
        for (shard, i) in shards.into_iter().zip(1..) {
            let path = dir.join(file(i));
            let tensors = shard.into_iter().map(|(name, stored)| (name, Passing(self, stored)));
            let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
            safetensors::serialize_to_file(tensors, Some(metadata), &path).map_err(|e| match e {
                SafeTensorError::IoError(source) => clinpeft_files::at("write", &path)(source).into(),
                other => Error::Format { path, what: format!("cannot be written: {other}") },
            })?;
        }
        if count > 1 {
            let map: BTreeMap<&str, String> = places.into_iter().map(|(name, i)| (name, file(i))).collect();
            let index = serde_json::json!({ "metadata": { "total_size": total }, "weight_map": map });
            clinpeft_files::write_json(&dir.join("model.safetensors.index.json"), &index)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keep;
    use clinpeft_tensor::DType;

    fn forms() -> Checkpoint {
        Checkpoint::open_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/forms.zip.bin")).unwrap()
    }

    #[test]
    fn copied_tensors_are_those_that_were_read_in_any_shards() {
        let from = forms();
        let new = |old: &String| format!("model.{old}");
        let names = from.tensors().keys().map(|old| (old.clone(), new(old))).collect();
        for limit in [u64::MAX, 60, 0] {
            let dir = tempfile::tempdir().unwrap();
            from.copy_to(dir.path(), &names, limit).unwrap();
            let copy = Checkpoint::open(dir.path()).unwrap();
            assert_eq!(copy.tensors().len(), from.tensors().len());
            for (old, stored) in from.tensors() {
                let (a, b) = (from.any(old, Keep::As(DType::F64)), copy.any(&new(old), Keep::As(DType::F64)));
                assert_eq!(a.unwrap().as_slice::<f64>().unwrap(), b.unwrap().as_slice::<f64>().unwrap(), "{old}");
                let written = &copy.tensors()[&new(old)];
                assert_eq!((&stored.dims, stored.dtype), (&written.dims, written.dtype));
            }
        }
    }

    #[test]
    fn two_tensors_of_one_name_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["half", "brain"].map(|old| (old.to_string(), "x".to_string())).into();
        let error = forms().copy_to(dir.path(), &names, 1000).unwrap_err().to_string();
        assert!(error.contains("two tensors that would be `x`"), "{error}");
    }
}
