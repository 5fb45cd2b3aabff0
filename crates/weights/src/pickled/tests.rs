use super::*;
use crate::{Checkpoint, Keep};
use clinpeft_tensor::DType;
use proptest::prelude::*;
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn said(name: &str) -> String {
    Checkpoint::open_file(&fixture(name)).unwrap_err().to_string()
}

/// Runs a pickle, as the object of the older form.
fn run(pickle: &[u8]) -> Result<Contents> {
    let head = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s.";
    read(Path::new("model.bin"), &[head, pickle, b"\x80\x02]."].concat())
}

#[test]
fn both_forms_hold_what_torch_saved() {
    let expected: serde_json::Value = clinpeft_files::read_json(&fixture("forms.json")).unwrap();
    for form in ["forms.zip.bin", "forms.legacy.bin"] {
        let file = Checkpoint::open_file(&fixture(form)).unwrap();
        let names: Vec<&String> = file.tensors().keys().collect();
        assert_eq!(names, expected.as_object().unwrap().keys().collect::<Vec<_>>(), "{form}");
        for (name, stored) in file.tensors() {
            let of = |key: &str| expected[name][key].as_array().unwrap().clone();
            assert_eq!(stored.dims, of("dims").iter().map(|d| d.as_u64().unwrap() as usize).collect::<Vec<_>>());
            let read = file.any(name, Keep::As(DType::F64)).unwrap();
            let values: Vec<f64> = of("values").iter().map(|v| v.as_f64().unwrap()).collect();
            assert_eq!(read.as_slice::<f64>().unwrap(), values, "{form} {name}");
        }
    }
}

#[test]
fn views_of_one_storage_are_not_copied_and_dense_ones_lie_in_the_file() {
    for form in ["forms.zip.bin", "forms.legacy.bin"] {
        let bytes = std::fs::read(fixture(form)).unwrap();
        let found = read(Path::new(form), &bytes).unwrap().tensors;
        let of = |name: &str| found.iter().find(|t| t.name == name).unwrap();
        assert_eq!(of("whole").bytes, of("transposed").bytes);
        assert_eq!((of("whole").strides.as_deref(), of("transposed").strides.as_deref()), (None, Some(&[1, 6][..])));
        assert_eq!(of("part").bytes.start, of("whole").bytes.start + (6 + 2) * 4);
    }
}

#[test]
fn tensors_that_share_one_storage_too_often_are_refused() {
    // A storage of four values, and `n` tensors that each show all of them.
    let file = |n: u8| {
        let mut object = b"\x80\x02}".to_vec();
        for i in 0..n {
            object.extend([b'X', 1, 0, 0, 0, b'a' + i]);
            object.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu");
            object.extend(b"M\x00\x10NtQK\0M\x00\x10\x85K\x01\x85\x89}tRs");
        }
        object.push(b'.');
        let head =
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s.";
        let keys = b"\x80\x02]X\x01\0\0\x000a.";
        let values = [&4096u64.to_le_bytes()[..], &[0; 4 * 4096]].concat();
        read(Path::new("model.bin"), &[&head[..], &object, keys, &values].concat())
    };
    assert_eq!(file(2).unwrap().tensors.len(), 2);
    assert!(file(20).unwrap_err().to_string().contains("share their values so often"));
}

#[test]
fn an_attack_is_refused_by_its_name() {
    for form in ["attack.zip.bin", "attack.legacy.bin"] {
        let message = said(form);
        assert!(message.contains("asks for `posix system`") && message.contains("\nhint: "), "{message}");
        assert!(matches!(Checkpoint::open_file(&fixture(form)), Err(Error::Refused { .. })));
    }
}

#[test]
fn what_is_no_dictionary_of_tensors_is_refused_with_a_hint() {
    for (form, what) in [
        ("nested.zip.bin", "holds no tensor, but entries such as `epoch`"),
        ("nested.legacy.bin", "holds no tensor, but entries such as `epoch`"),
        ("expanded.bin", "shape [1000] does not fit into the 1 values"),
        ("complex.bin", "asks for `torch ComplexFloatStorage`"),
    ] {
        let message = said(form);
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn instructions_that_no_weights_need_are_refused_by_name() {
    for (pickle, name) in [
        (&b"\x80\x02cos\nsystem\n."[..], "os system"),
        (b"\x80\x02(ibuiltins\neval\n.", "instruction INST"),
        (b"\x80\x02)\x81.", "instruction NEWOBJ"),
        (b"\x80\x02\x93.", "instruction STACK_GLOBAL"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"\x80\x02\xfe.", "unknown instruction 0xfe"),
        (b"\x80\x02ctorch.nn\n_Module\n.", "torch.nn _Module"),
        (b"\x80\x02K\x01}b.", "BUILD of an object"),
    ] {
        match run(pickle) {
            Err(Error::Refused { what, .. }) => assert_eq!(what, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn values_are_not_taken_from_below_a_mark_or_from_nowhere() {
    for pickle in
        [&b"\x80\x02."[..], b"\x80\x02\x85.", b"\x80\x02K\x01(\x85.", b"\x80\x02e.", b"\x80\x02h\x05.", b"\x80\x02"]
    {
        assert!(matches!(run(pickle), Err(Error::Format { .. })), "{pickle:?}");
    }
}

#[test]
fn any_depth_of_nesting_is_read_without_recursion() {
    let deep = [b"\x80\x02)", &[0x85; 500_000][..], b"."].concat();
    assert!(run(&deep).unwrap_err().to_string().contains("no dictionary"));
    let endless = [b"\x80\x02", &[b')'; 2_000_000][..], b"."].concat();
    assert!(run(&endless).unwrap_err().to_string().contains("instructions"));
}

#[test]
fn a_cut_file_is_an_error_with_a_hint_wherever_it_is_cut() {
    for form in ["forms.zip.bin", "forms.legacy.bin"] {
        let bytes = std::fs::read(fixture(form)).unwrap();
        for n in 0..bytes.len() {
            let error = read(Path::new(form), &bytes[..n]).expect_err(form);
            assert!(matches!(error, Error::Format { .. }), "{error}");
        }
        let cut = read(Path::new(form), &bytes[..bytes.len() - 1]).unwrap_err().to_string();
        assert!(cut.contains("\nhint: ") && cut.contains("incomplete"), "{cut}");
    }
}

/// `CLINPEFT_FUZZ_CASES` sets another number.
fn cases() -> ProptestConfig {
    let asked = std::env::var("CLINPEFT_FUZZ_CASES").ok().and_then(|n| n.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(2_000))
}

/// Reads everything of a file that may be damaged: an error or tensors, never a panic.
fn read_all(bytes: &[u8]) {
    if let Ok(contents) = read(Path::new("model.bin"), bytes) {
        for t in contents.tensors {
            assert!(t.bytes.end <= bytes.len());
            let count = t.dims.iter().product::<usize>();
            assert!(count * width(t.dtype) <= bytes.len());
            if let Some(strides) = &t.strides {
                assert_eq!(
                    crate::checkpoint::gather(&bytes[t.bytes], &t.dims, strides, width(t.dtype)).len(),
                    count * width(t.dtype)
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn damaged_files_give_errors(
        form in prop::sample::select(vec!["forms.zip.bin", "forms.legacy.bin", "attack.legacy.bin"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = std::fs::read(fixture(form)).unwrap();
        for (place, byte) in changes {
            let n = bytes.len();
            bytes[place.index(n)] = byte;
        }
        read_all(&bytes);
    }

    #[test]
    fn arbitrary_instructions_give_errors(pickle in prop::collection::vec(instructions(), 0..60)) {
        if let Ok(contents) = run(&[b"\x80\x02", &pickle.concat()[..], b"."].concat()) {
            prop_assert!(contents.tensors.is_empty() || contents.tensors.iter().all(|t| t.bytes.is_empty()));
        }
    }

    #[test]
    fn arbitrary_bytes_give_errors(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
        read_all(&[b"PK\x03\x04", &bytes[..]].concat());
        let _ = run(&bytes);
    }
}

/// Instructions that are allowed, with arguments that are plausible.
fn instructions() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::sample::select(vec![
        &b"("[..],
        b")",
        b"]",
        b"}",
        b"N",
        b"\x88",
        b"\x85",
        b"\x86",
        b"\x87",
        b"t",
        b"a",
        b"e",
        b"s",
        b"u",
        b"Q",
        b"R",
        b"b",
        b"X\x07\0\0\0storage",
        b"X\x01\0\0\0k",
        b"ctorch\nFloatStorage\n",
        b"ccollections\nOrderedDict\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0kX\x03\0\0\0cpuK\x04tQ",
    ]);
    prop_oneof![
        3 => whole.prop_map(<[u8]>::to_vec),
        1 => (prop::sample::select(b"Kqh".to_vec()), 0..6u8).prop_map(|(code, n)| vec![code, n]),
        1 => any::<i32>().prop_map(|n| [b"J", &n.to_le_bytes()[..]].concat()),
    ]
}
