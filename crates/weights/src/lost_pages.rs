//! What happens when a mapped file loses its end.
//!
//! Weights stay in their files, which are mapped, not read. The writers of this program never shorten a file in place: each
//! writes a new one and renames it. If another program does, the pages behind the new end are gone, and reading one is a bus
//! error (SIGBUS), which would end the process without a word.

/// Lets a bus error say what it is, and end the process with code 1. To be called once, at the start of a program.
///
/// Only a program may do this, not a library for it: signals belong to the whole process. Errors if the system refuses.
pub fn report_lost_pages() -> std::io::Result<()> {
    #[cfg(unix)]
    unix::report()?;
    Ok(())
}

#[cfg(unix)]
mod unix {
    use signal_hook::consts::SIGBUS;
    use signal_hook::low_level::{exit, register};

    const MESSAGE: &[u8] = b"error: a file that was being read became shorter while it was read\n\
        hint: nothing may change a model while it is used; copy it to a place of its own and start again\n";

    #[expect(unsafe_code, reason = "signal handler")]
    pub(super) fn report() -> std::io::Result<()> {
        let say = || {
            // One system call; there is nobody to tell if it fails.
            let _ = rustix::io::write(rustix::stdio::stderr(), MESSAGE);
            exit(1);
        };
        // SAFETY: the handler only calls `write` and `_exit`, which are safe in a signal handler; it takes no lock, allocates
        // nothing, cannot panic and does not return.
        unsafe { register(SIGBUS, say) }.map(|_| ())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::{Checkpoint, Keep, TensorMap, save};
    use clinpeft_tensor::Tensor;
    use std::collections::BTreeMap;
    use std::process::Command;

    /// Tells the test binary that it is the child, and which file it should read.
    const CHILD: &str = "CLINPEFT_TEST_LOST_PAGES";

    #[test]
    fn a_file_that_becomes_shorter_ends_the_process_with_a_message() {
        if let Some(path) = std::env::var_os(CHILD) {
            report_lost_pages().unwrap();
            let file = Checkpoint::open_file(path.as_ref()).unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_len(4096).unwrap();
            let sum: f64 = file.any("a", Keep::Stored).unwrap().to_f64_vec().unwrap().iter().sum();
            unreachable!("pages that are gone were read: {sum}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let tensors = TensorMap::from([("a".into(), Tensor::from_vec(vec![1.0f32; 1 << 20], &[1 << 20]).unwrap())]);
        save(&path, &tensors, &BTreeMap::new()).unwrap();
        let name = "lost_pages::tests::a_file_that_becomes_shorter_ends_the_process_with_a_message";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, &path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.code(), Some(1), "{:?} {said}", child.status);
        assert!(
            said.contains("error: a file that was being read became shorter") && said.contains("\nhint: "),
            "{said}"
        );
    }
}
