use super::*;
use crate::{Encoder, TokenizerKind};
use clinpeft_clinical::synth::prose::general;
use clinpeft_rng::Seed;
use proptest::prelude::*;
use std::fs;

fn tokenizer() -> Tokenizer {
    Tokenizer::train(general::stream(Seed(5)).take(30), 400, TokenizerKind::ByteFallback).unwrap()
}

fn key(tokenizer: &Tokenizer, data: &str) -> CacheKey {
    CacheKey::new(tokenizer, Specials::Bos, Truncation::First { length: 16 }, data)
}

fn encoded(tokenizer: &Tokenizer) -> Sequences {
    let texts: Vec<String> = general::stream(Seed(6)).take(9).collect();
    let mut encoder = Encoder::new(tokenizer, Specials::Bos, Truncation::First { length: 16 }).unwrap();
    encoder.push(&texts).unwrap();
    encoder.finish()
}

#[test]
fn what_was_stored_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, tokenizer) = (Cache::new(dir.path().join("new")), tokenizer());
    let (key, sequences) = (key(&tokenizer, "a"), encoded(&tokenizer));
    assert!(sequences.count().dropped > 0);
    assert_eq!(cache.load(&key).unwrap(), Lookup::Miss);
    let first = cache.load_or(&key, || Ok::<_, Error>(sequences.clone())).unwrap();
    assert_eq!(first, (sequences.clone(), Source::Encoded));
    let never = || -> Result<Sequences> { panic!("encoded twice") };
    assert_eq!(cache.load_or(&key, never).unwrap(), (sequences, Source::Cache));
}

#[test]
fn the_key_depends_on_every_part() {
    let tokenizer = tokenizer();
    let other = Tokenizer::train(["one other text, one other"], 300, TokenizerKind::ByteFallback).unwrap();
    let first = Truncation::First { length: 16 };
    let keys = [
        CacheKey::new(&tokenizer, Specials::Bos, first, "a"),
        CacheKey::new(&other, Specials::Bos, first, "a"),
        CacheKey::new(&tokenizer, Specials::BosEos, first, "a"),
        CacheKey::new(&tokenizer, Specials::Bos, Truncation::Last { length: 16 }, "a"),
        CacheKey::new(&tokenizer, Specials::Bos, first, "b"),
    ];
    for (i, a) in keys.iter().enumerate() {
        assert!(keys[..i].iter().all(|b| a != b));
    }
}

#[test]
fn damaged_and_foreign_files_are_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, tokenizer) = (Cache::new(dir.path()), tokenizer());
    let (here, there) = (key(&tokenizer, "a"), key(&tokenizer, "b"));
    let sequences = encoded(&tokenizer);
    cache.store(&there, &sequences).unwrap();
    cache.store(&here, &sequences).unwrap();
    let good = fs::read(cache.path(&here)).unwrap();
    let half = good[..good.len() / 2].to_vec();
    let foreign = fs::read(cache.path(&there)).unwrap();
    for bad in [Vec::new(), b"not a tensor".to_vec(), vec![0xff; 64], half, foreign] {
        fs::write(cache.path(&here), &bad).unwrap();
        let (got, source) = cache.load_or(&here, || Ok::<_, Error>(sequences.clone())).unwrap();
        assert_eq!(got, sequences);
        assert!(matches!(source, Source::Rebuilt { .. }), "{source:?}");
        assert_eq!(fs::read(cache.path(&here)).unwrap(), good);
    }
}

#[test]
fn counts_beyond_the_file_are_damage_and_take_no_memory() {
    let key = CacheKey("k".into());
    let mut sequences = Sequences::default();
    sequences.push(&[1, 2, 3], 4);
    let good = serialise(&key, &sequences).unwrap();
    let changed = |from: &str, to: &str| {
        let header = String::from_utf8(good[8..].iter().copied().take_while(u8::is_ascii).collect()).unwrap();
        let length = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
        let header = header[..length].replacen(from, to, 1);
        assert_ne!(header, String::from_utf8_lossy(&good[8..8 + length]), "{from}");
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &good[8 + length..]].concat()
    };
    let huge = u64::MAX.to_string();
    let mut bad = vec![
        changed("[3]", &format!("[{huge}]")),
        changed("[3]", &format!("[{huge},{huge}]")),
        changed("[3]", "[4]"),
        changed("[2]", "[1152921504606846976]"),
        changed(",28]", &format!(",{huge}]")),
        changed(r#"\"dropped\":4"#, &format!(r#"\"dropped\":{huge}"#)),
    ];
    for length in [u64::MAX, 1 << 40, 0] {
        bad.push([&length.to_le_bytes(), &good[8..]].concat());
    }
    for (case, bytes) in bad.into_iter().enumerate() {
        assert!(parse(&bytes, &key).is_err(), "case {case}");
    }
}

#[test]
#[cfg(unix)]
fn only_the_owner_can_enter_the_folder_and_what_is_no_file_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().join("a/tokens"));
    let key = CacheKey("k".into());
    cache.store(&key, &Sequences::default()).unwrap();
    assert!(!clinpeft_files::is_open_to_others(&dir.path().join("a/tokens")));
    assert!(!clinpeft_files::is_open_to_others(&cache.path(&key)));
    fs::remove_file(cache.path(&key)).unwrap();
    std::os::unix::fs::symlink("/dev/zero", cache.path(&key)).unwrap();
    assert!(matches!(cache.load(&key).unwrap(), Lookup::Damaged { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_altered_byte_goes_unnoticed(flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4)) {
        let key = CacheKey("k".into());
        let mut sequences = Sequences::default();
        sequences.push(&[1, 2, 3], 4);
        sequences.push(&[], 0);
        sequences.push(&[7], 0);
        let mut bytes = serialise(&key, &sequences).unwrap();
        prop_assert_eq!(parse(&bytes, &key).unwrap(), sequences.clone());
        for (place, flip) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
        }
        // A change that loads at all changes nothing that was stored (white space of the header).
        if let Ok(other) = parse(&bytes, &key) {
            prop_assert_eq!(other, sequences);
        }
    }
}
