use super::*;
use crate::{Kind, encode_all, general};
use clinpeft_rng::Seed;
use proptest::prelude::*;
use std::fs;

fn tokenizer() -> Tokenizer {
    Tokenizer::train(general::stream(Seed(5)).take(30), 400, Kind::ByteFallback).unwrap()
}

fn key(tokenizer: &Tokenizer, data: &str) -> CacheKey {
    CacheKey::new(tokenizer, Specials::Bos, Truncation::First { length: 16 }, data)
}

fn encoded(tokenizer: &Tokenizer) -> Sequences {
    let texts: Vec<String> = general::stream(Seed(6)).take(9).collect();
    encode_all(&texts, tokenizer, Specials::Bos, Truncation::First { length: 16 }).unwrap()
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
    let other = Tokenizer::train(["one other text, one other"], 300, Kind::ByteFallback).unwrap();
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_altered_byte_goes_unnoticed(place: prop::sample::Index, flip in 1u8..) {
        let key = CacheKey("k".into());
        let mut sequences = Sequences::default();
        sequences.push(&[1, 2, 3], 4);
        sequences.push(&[], 0);
        sequences.push(&[7], 0);
        let mut bytes = serialise(&key, &sequences).unwrap();
        prop_assert_eq!(parse(&bytes, &key).unwrap(), sequences.clone());
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        // A change that loads at all changes nothing that was stored (white space of the header).
        if let Ok(other) = parse(&bytes, &key) {
            prop_assert_eq!(other, sequences);
        }
    }
}
