use super::*;
use clinpeft_clinical::synth::prose::general;
use clinpeft_rng::Seed;
use proptest::prelude::*;
use std::sync::LazyLock;

const KINDS: [TokenizerKind; 3] = [TokenizerKind::ByteLevel, TokenizerKind::ByteFallback, TokenizerKind::WordPiece];

fn texts() -> Vec<String> {
    general::stream(Seed(11)).take(300).collect()
}

fn trained(kind: TokenizerKind) -> &'static Tokenizer {
    static ALL: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
        let train = |kind| Tokenizer::train(texts(), 700, kind).unwrap();
        KINDS.into_iter().map(train).collect()
    });
    &ALL[KINDS.iter().position(|k| *k == kind).unwrap()]
}

#[test]
fn training_is_the_same_for_any_order_and_thread_count() {
    let mut reversed = texts();
    reversed.reverse();
    for kind in KINDS {
        let reference = trained(kind).hash();
        assert_eq!(Tokenizer::train(&reversed, 700, kind).unwrap().hash(), reference);
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let hash = pool.install(|| Tokenizer::train(texts(), 700, kind).unwrap().hash().to_owned());
            assert_eq!(hash, reference);
        }
    }
}

#[test]
fn a_limited_alphabet_with_tied_counts_is_the_same_every_time() {
    // Characters that are equally frequent, and space for a quarter of the rest: the library's trainer differs each run.
    let texts = ["abcdefghij klmnopqrst äöüßéèêñçøåæ"; 5];
    for kind in [TokenizerKind::ByteFallback, TokenizerKind::WordPiece] {
        let hashes: Vec<String> =
            (0..12).map(|_| Tokenizer::train(texts, 310, kind).unwrap().hash().to_owned()).collect();
        assert!(hashes.iter().all(|h| *h == hashes[0]));
    }
}

#[test]
fn special_tokens_have_their_places() {
    for kind in [TokenizerKind::ByteLevel, TokenizerKind::ByteFallback] {
        let t = trained(kind);
        for (id, special) in [Special::Unknown, Special::Begin, Special::End].into_iter().enumerate() {
            assert_eq!(t.special(special).unwrap(), id as u32);
        }
        let body = t.encode("rain", Specials::None).unwrap();
        assert_eq!(t.encode("rain", Specials::Bos).unwrap(), [&[1], body.as_slice()].concat());
        assert_eq!(t.encode("rain", Specials::BosEos).unwrap(), [&[1], body.as_slice(), &[2]].concat());
        assert!(matches!(t.encode("rain", Specials::ClsSep), Err(Error::MissingSpecial { .. })));
    }
    let t = trained(TokenizerKind::WordPiece);
    let body = t.encode("rain", Specials::None).unwrap();
    assert_eq!(t.encode("rain", Specials::ClsSep).unwrap(), [&[2], body.as_slice(), &[3]].concat());
    assert_eq!(t.special(Special::Mask).unwrap(), 4);
    assert!(t.encode("rain", Specials::Bos).is_err());
}

#[test]
fn a_note_cannot_spell_a_special_token() {
    for (kind, text) in [
        (TokenizerKind::ByteLevel, "<s> a </s><unk>"),
        (TokenizerKind::ByteFallback, "<s> a </s><unk>"),
        (TokenizerKind::WordPiece, "[CLS] a [SEP][MASK]"),
    ] {
        let t = trained(kind);
        let ids = t.encode(text, Specials::None).unwrap();
        for special in [Special::Begin, Special::End, Special::Class, Special::Separator, Special::Mask] {
            if let Ok(id) = t.special(special) {
                assert!(!ids.contains(&id), "{kind:?} {special:?}");
            }
        }
    }
}

#[test]
fn spellings_of_special_tokens_in_training_text_are_never_merged_into_them() {
    let texts = vec!["</s> <s> <unk> <0x0A>"; 50];
    let t = Tokenizer::train(&texts, 400, TokenizerKind::ByteFallback).unwrap();
    let ids = t.encode(texts[0], Specials::None).unwrap();
    assert!(ids.iter().all(|&id| id >= 3 + 256), "{ids:?}");
    assert_eq!(t.decode(&ids).unwrap(), texts[0]);
}

#[test]
fn clinical_spellings_come_back_as_they_were() {
    let text =
        "Pt. [**Name 12**] is a 67 y/o M w/ CHF (EF 25%);\n\nBP 142/88,  K+ 3.4 mEq/L\tT 38.5°C → 37.1°C ___ μg\r\n";
    for kind in [TokenizerKind::ByteLevel, TokenizerKind::ByteFallback] {
        let ids = trained(kind).encode(text, Specials::BosEos).unwrap();
        assert_eq!(trained(kind).decode(&ids).unwrap(), text);
    }
}

#[test]
fn saved_and_loaded_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let path = dir.path().join("tokenizer.json");
        trained(kind).save(&path).unwrap();
        let loaded = Tokenizer::load(&path).unwrap();
        assert_eq!(loaded.hash(), trained(kind).hash());
        assert_eq!(loaded.vocab_size(), 700);
        let text = "She asked 3 times, in vain.";
        let encode = |t: &Tokenizer| t.encode(text, Specials::None).unwrap();
        assert_eq!(encode(&loaded), encode(trained(kind)));
    }
}

#[test]
fn automatic_padding_and_truncation_of_the_file_are_off() {
    let mut inner = trained(TokenizerKind::ByteLevel).inner.clone();
    inner.with_truncation(Some(tokenizers::TruncationParams { max_length: 4, ..Default::default() })).unwrap();
    inner.with_padding(Some(tokenizers::PaddingParams {
        strategy: tokenizers::PaddingStrategy::Fixed(64),
        ..Default::default()
    }));
    let t = Tokenizer::from_json(inner.to_string(false).unwrap()).unwrap();
    let text = "One two three four five six seven eight.";
    let encode = |t: &Tokenizer| t.encode(text, Specials::None).unwrap();
    assert_eq!(encode(&t), encode(trained(TokenizerKind::ByteLevel)));
}

#[test]
fn files_that_are_no_tokenizer_are_errors_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    for bad in ["", "{}", "[1]", r#"{"version":"1.0","model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}"#] {
        std::fs::write(&path, bad).unwrap();
        let message = Tokenizer::load(&path).unwrap_err().to_string();
        assert!(message.contains("tokenizer.json") && message.contains("\nhint: "), "{message}");
    }
    assert!(Tokenizer::load(&dir.path().join("missing")).is_err());
}

/// A file in the form of LLaMA's: no pre-tokeniser, and a post-processor that adds `<s>` by itself.
#[test]
fn a_beginning_token_is_added_once_by_policy_alone() {
    let mut file = recipe::json(
        TokenizerKind::ByteFallback,
        &recipe::Vocabulary {
            tokens: ["<unk>", "<s>", "</s>", "<0x0A>", "▁", "a", "▁a"].map(String::from).to_vec(),
            merges: vec![("▁".into(), "a".into())],
        },
    );
    file["pre_tokenizer"] = serde_json::Value::Null;
    file["post_processor"] = serde_json::json!({
        "type": "TemplateProcessing",
        "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
        "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }],
        "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] } },
    });
    let t = Tokenizer::from_json(file.to_string()).unwrap();
    assert_eq!(t.encode("a a\na", Specials::Bos).unwrap(), [1, 6, 6, 3, 5]);
    assert_eq!(t.encode("a", Specials::None).unwrap(), [6]);
    assert_eq!(t.encode("", Specials::BosEos).unwrap(), [1, 2]);
    assert_eq!(t.decode(&[1, 6, 6, 3, 5, 2]).unwrap(), "a a\na");
}

#[test]
fn token_ids_of_clinical_spellings_never_change() {
    let corpus = ["BP 142/88, K+ 3.4 mEq/L.\n[**Name 12**] 67 y/o w/ CHF"; 3];
    let text = "K+ 3.4\n\n[**Name**] w/ CHF";
    let t = Tokenizer::train(corpus, 420, TokenizerKind::ByteFallback).unwrap();
    assert_eq!(
        t.encode(text, Specials::Bos).unwrap(),
        [1, 299, 261, 290, 267, 263, 268, 259, 259, 296, 306, 305, 300, 264, 307]
    );
    let t = Tokenizer::train(corpus, 290, TokenizerKind::ByteLevel).unwrap();
    assert_eq!(
        t.encode(text, Specials::Bos).unwrap(),
        [1, 45, 13, 223, 21, 16, 22, 201, 201, 264, 273, 272, 268, 17, 274]
    );
}

#[test]
fn random_merges_are_refused() {
    let json = trained(TokenizerKind::ByteLevel).json.replace(r#""dropout":null"#, r#""dropout":0.1"#);
    assert!(Tokenizer::from_json(json).is_err());
}

#[test]
fn a_vocabulary_too_small_says_how_large() {
    for kind in KINDS {
        let Err(Error::SmallVocabulary { needed, .. }) = Tokenizer::train(["a a b b"], 4, kind) else {
            panic!("{kind:?} trained 4 tokens");
        };
        assert!(Tokenizer::train(["a a b b"], needed, kind).is_ok());
    }
}

#[test]
fn nothing_to_train_on_is_still_a_tokenizer() {
    for kind in KINDS {
        let t = Tokenizer::train(Vec::<String>::new(), 500, kind).unwrap();
        assert!(t.encode("any text", Specials::None).is_ok());
    }
}

proptest! {
    #[test]
    fn any_text_is_encoded_within_the_vocabulary(text in any::<String>()) {
        for kind in KINDS {
            let t = trained(kind);
            let ids = t.encode(&text, Specials::None).unwrap();
            prop_assert!(ids.iter().all(|&id| (id as usize) < t.vocab_size()));
            let back = t.decode(&ids).unwrap();
            // LLaMA's mark for a space is the one character that comes back as another.
            if kind == TokenizerKind::ByteLevel || kind == TokenizerKind::ByteFallback && !text.contains('▁') {
                prop_assert_eq!(&back, &text);
            }
        }
    }

    #[test]
    fn any_ids_are_decoded_or_refused(ids in prop::collection::vec(any::<u32>(), 0..20)) {
        for kind in KINDS {
            let _ = trained(kind).decode(&ids);
            let small: Vec<u32> = ids.iter().map(|id| id % 700).collect();
            prop_assert!(trained(kind).decode(&small).is_ok());
        }
    }
}
