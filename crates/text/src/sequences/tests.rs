use super::*;
use crate::TokenizerKind;
use clinpeft_clinical::synth::prose::general;
use clinpeft_rng::Seed;
use proptest::prelude::*;
use std::sync::LazyLock;

static TOKENIZER: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::train(general::stream(Seed(2)).take(50), 400, TokenizerKind::ByteFallback).unwrap());

fn any_truncation() -> impl Strategy<Value = Truncation> {
    prop_oneof![
        Just(Truncation::None),
        (3usize..40).prop_map(|length| Truncation::First { length }),
        (3usize..40).prop_map(|length| Truncation::Last { length }),
        (1usize..20, 2usize..20).prop_map(|(head, tail)| Truncation::HeadTail { head, tail }),
    ]
}

proptest! {
    #[test]
    fn truncation_keeps_special_tokens_and_counts_the_rest(text in "[a-z ]{0,120}", truncation in any_truncation()) {
        let whole = TOKENIZER.encode(&text, Specials::BosEos).unwrap();
        let mut encoder = Encoder::new(&TOKENIZER, Specials::BosEos, truncation).unwrap();
        encoder.push(&[&text]).unwrap();
        let all = encoder.finish();
        let ids = all.get(0).unwrap();
        let (n, length) = (whole.len(), truncation.length().unwrap_or(usize::MAX));
        prop_assert_eq!(ids.len(), n.min(length));
        prop_assert_eq!(all.count(), TokenCount { kept: ids.len() as u64, dropped: (n - ids.len()) as u64 });
        prop_assert_eq!((ids[0], ids[ids.len() - 1]), (1, 2));
        let (head, tail) = match truncation {
            Truncation::None => (n, 0),
            Truncation::First { length } => (length - 1, 1),
            Truncation::Last { length } => (1, length - 1),
            Truncation::HeadTail { head, tail } => (head, tail),
        };
        if n > length {
            prop_assert_eq!(&ids[..head], &whole[..head]);
            prop_assert_eq!(&ids[head..], &whole[n - tail..]);
        } else {
            prop_assert_eq!(ids, whole.as_slice());
        }
    }
}

#[test]
fn encoding_is_the_same_for_any_thread_count() {
    let texts: Vec<String> = general::stream(Seed(4)).take(2500).collect();
    let encode = || {
        let mut encoder = Encoder::new(&TOKENIZER, Specials::Bos, Truncation::First { length: 20 }).unwrap();
        texts.chunks(1024).for_each(|block| encoder.push(block).unwrap());
        encoder.finish()
    };
    let reference = encode();
    assert_eq!(reference.len(), texts.len());
    for (ids, text) in reference.iter().zip(&texts).step_by(100) {
        let whole = TOKENIZER.encode(text, Specials::Bos).unwrap();
        assert_eq!(ids, &whole[..whole.len().min(20)]);
    }
    for threads in [1, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(encode), reference);
    }
}

#[test]
fn a_truncation_without_space_for_text_is_an_error() {
    for truncation in [
        Truncation::First { length: 2 },
        Truncation::Last { length: 0 },
        Truncation::HeadTail { head: 1, tail: 1 },
        Truncation::HeadTail { head: 9, tail: 0 },
    ] {
        assert!(matches!(Encoder::new(&TOKENIZER, Specials::BosEos, truncation), Err(Error::NoRoom { .. })));
    }
    assert!(Encoder::new(&TOKENIZER, Specials::Bos, Truncation::HeadTail { head: 9, tail: 0 }).is_ok());
}

#[test]
fn offsets_that_do_not_fit_are_errors() {
    for bad in [vec![], vec![1, 2], vec![0, 2, 1, 3], vec![0, 2], vec![0, 4]] {
        assert!(Sequences::new(vec![5, 6, 7], bad, 0).is_err());
    }
    let good = Sequences::new(vec![5, 6, 7], vec![0, 2, 2, 3], 0).unwrap();
    assert_eq!(good.iter().collect::<Vec<_>>(), [&[5, 6][..], &[], &[7]]);
    assert_eq!(good.get(3), None);
    assert_eq!(good.get(usize::MAX), None);
}
