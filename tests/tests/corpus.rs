//! Every file of the corpus is read: valid ones come back as they were, those that once failed are refused or read.
#![allow(clippy::unwrap_used, reason = "tests")]

use clinpeft_tests::siege::readers::forms::FORMS;
use clinpeft_tests::siege::readers::{PATIENCE, collect_panics, corpus, read};
use std::sync::mpsc;

#[test]
fn valid_files_come_back_the_same_and_what_once_failed_fails_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut faults = Vec::new();
    collect_panics();
    for form in FORMS {
        let samples = corpus::samples(form.name).unwrap();
        assert!(samples.iter().any(|s| !corpus::once_failed(s)), "{} has no valid sample", form.name);
        for sample in samples {
            let (say, receive) = mpsc::channel();
            let (place, work) = (sample.clone(), dir.path().join(form.name));
            // What never ends is left behind with the process.
            std::thread::spawn(move || say.send(read(form, &place, &work)));
            let name = format!("{}/{}", form.name, sample.file_name().unwrap().to_string_lossy());
            match receive.recv_timeout(PATIENCE * 4) {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(refusal))) if !corpus::once_failed(&sample) => {
                    faults.push(format!("{name} is refused: {refusal}"))
                }
                Ok(Ok(Err(_))) => {}
                Ok(Err(broken)) => faults.push(format!("{name}: {broken}")),
                Err(_) => faults.push(format!("{name} takes too long")),
            }
        }
    }
    let _ = std::panic::take_hook();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
