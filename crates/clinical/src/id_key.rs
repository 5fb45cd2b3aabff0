//! The secret by which ids leave a dataset folder.
//!
//! Predictions of several runs are joined by id, but nobody who reads them may find an admission's number. A hash alone does not
//! hide it: there are few enough numbers to try them all. So the hash has a key that stays in the dataset folder.

use crate::error::{Error, Result};
use crate::ids::{HadmId, SubjectId};
use clinpeft_rng::Seed;
use std::fmt;
use std::path::Path;

/// Key of the hashes that stand for admissions and patients outside of a dataset folder.
///
/// It lies in the file `id-key` of the folder, in hexadecimal, and in no manifest. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct IdKey([u8; 32]);

const FILE: &str = "id-key";
const OF_SEED: &str = "clinpeft 2026-11 ids of a synthetic cohort";
const FINGERPRINT: &str = "clinpeft 2026-11 fingerprint of an id key";

impl IdKey {
    /// A new key, by the operating system's randomness. Errors if it gives none.
    pub fn random() -> Result<IdKey> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| Error::Random { why: e.to_string() })?;
        Ok(IdKey(key))
    }

    /// The key of a synthetic cohort, where nobody is to be protected and runs are to be repeated.
    pub fn of_seed(seed: Seed) -> IdKey {
        IdKey(blake3::derive_key(OF_SEED, &seed.0.to_le_bytes()))
    }

    /// What stands for an admission.
    pub fn id(&self, admission: HadmId) -> u64 {
        self.hash("admission", admission.0)
    }

    /// What stands for a patient: the same in every task of a dataset.
    pub fn subject(&self, patient: SubjectId) -> u64 {
        self.hash("subject", patient.0)
    }

    fn hash(&self, purpose: &str, number: u64) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(purpose.as_bytes()).update(&number.to_le_bytes());
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first)
    }

    /// 16 hexadecimal characters: equal where ids can be joined. They tell nothing of the key.
    pub fn fingerprint(&self) -> String {
        let hash = blake3::Hash::from_bytes(blake3::derive_key(FINGERPRINT, &self.0));
        hash.to_hex()[..16].to_string()
    }

    /// The key of a dataset folder. Errors if it has none, or not one that [`IdKey::write`] wrote.
    pub fn read(dir: &Path) -> Result<IdKey> {
        IdKey::find(dir)?.ok_or_else(|| Error::IdKey { path: dir.join(FILE), what: "not found" })
    }

    /// The same; `None` for a folder without a key.
    pub(crate) fn find(dir: &Path) -> Result<Option<IdKey>> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = clinpeft_files::read_text(&path)?;
        let key = blake3::Hash::from_hex(text.trim_end()).map_err(|_| Error::IdKey { path, what: "is damaged" })?;
        Ok(Some(IdKey(*key.as_bytes())))
    }

    /// Writes the key into a dataset folder; only the owner may read it.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let text = format!("{}\n", blake3::Hash::from_bytes(self.0).to_hex());
        Ok(clinpeft_files::write_private(&dir.join(FILE), text)?)
    }
}

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_key_and_purpose() {
        let (a, b) = (IdKey::of_seed(Seed(1)), IdKey::of_seed(Seed(2)));
        assert_eq!(a.id(HadmId(7)), IdKey::of_seed(Seed(1)).id(HadmId(7)));
        assert_ne!(a.id(HadmId(7)), b.id(HadmId(7)));
        assert_ne!(a.id(HadmId(7)), a.id(HadmId(8)));
        assert_ne!(a.id(HadmId(7)), a.subject(SubjectId(7)));
        assert_ne!(IdKey::random().unwrap(), IdKey::random().unwrap());
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_a_missing_or_damaged_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let said = || IdKey::read(dir.path()).unwrap_err().to_string();
        assert!(said().contains("id-key` not found\nhint: "), "{}", said());
        let key = IdKey::random().unwrap();
        key.write(dir.path()).unwrap();
        assert_eq!(IdKey::read(dir.path()).unwrap(), key);
        assert!(!clinpeft_files::is_open_to_others(&dir.path().join(FILE)));
        for damaged in ["", "0123", &"g".repeat(64), &"0".repeat(65)] {
            std::fs::write(dir.path().join(FILE), damaged).unwrap();
            assert!(said().contains("is damaged\nhint: "), "{}", said());
        }
    }

    #[test]
    fn nothing_that_is_shown_holds_the_key() {
        let key = IdKey([7; 32]);
        let print = key.fingerprint();
        assert_eq!((print.len(), format!("{key:?}").as_str()), (16, "IdKey(..)"));
        assert!(!"07".repeat(32).contains(&print));
        assert_eq!(print, IdKey([7; 32]).fingerprint());
        assert_ne!(print, IdKey([8; 32]).fingerprint());
    }
}
