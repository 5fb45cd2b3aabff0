//! Too little disk, memory, descriptors or rights; streams that nobody reads.

use super::kills::{deed, is_there};
use crate::siege::child::{Ended, Sink, said};
use crate::siege::deeds::Deed;
use crate::siege::tree;
use crate::siege::trial::Trial;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What a call that lacked something may do: fail with a reason, or have managed.
fn managed_or_said(trial: &mut Trial<'_>, ended: &Ended, deed: &'static Deed) -> io::Result<()> {
    trial.expect_code(ended, &[0, 1]);
    if ended.code == Some(0) {
        let calm = deed.calm(trial.world, &trial.dir)?;
        trial.expect_results(&calm.results, "out")?;
    }
    Ok(())
}

/// The deed of a trial, begun, with its undisturbed end known.
fn begun(trial: &mut Trial<'_>) -> io::Result<&'static Deed> {
    let deed = deed(trial);
    deed.calm(trial.world, &trial.dir)?;
    deed.begin(trial.world, &trial.dir)?;
    Ok(deed)
}

/// After it has more of what it lacked, the same command does what an undisturbed one does.
fn again(trial: &mut Trial<'_>, deed: &'static Deed) -> io::Result<()> {
    let calm = deed.calm(trial.world, &trial.dir)?;
    let ended = trial.call(&deed.call(trial.world)?)?;
    trial.expect(ended.code == Some(0) || is_there(&ended), || {
        format!("with enough of it the same command fails: {}", said(&ended))
    });
    trial.expect_whole("out")?;
    trial.expect_results(&calm.results, "out")
}

/// A file system of a few KiB or MiB under `out`.
pub(super) fn full_disk(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = begun(trial)?;
    let (out, aside) = (trial.path("out"), trial.path("in/aside"));
    let size = tree::size(&out)? / 1024 + 1 + trial.draw.below(*trial.draw.clone().pick(&[16, 200, 4000])) as u64;
    tree::copy(&out, &aside)?;
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}k"), "tmpfs"]).arg(&out).output();
    if !mount.is_ok_and(|m| m.status.success()) {
        trial.untried = Some("no tmpfs can be mounted here".into());
        return Ok(());
    }
    let ended = fill(trial, deed, &aside, &out);
    let unmounted = Command::new("umount").arg(&out).status();
    let (ended, left) = ended?;
    unmounted?;
    let Some(ended) = ended else { return Ok(()) };
    trial.expect_code(&ended, &[0, 1]);
    trial.expect(left.is_none(), || format!("half-written: {}", left.unwrap_or_default()));
    let text = String::from_utf8_lossy(&ended.stderr);
    trial.expect(ended.code == Some(0) || text.contains("space") || text.contains("runs failed"), || {
        format!("a full disk is not named: {}", said(&ended))
    });
    trial.expect(ended.code == Some(0) || text.contains("hint: "), || format!("no hint: {}", said(&ended)));
    // On a disk with free space.
    fs::remove_dir_all(&out)?;
    tree::copy(&aside, &out)?;
    again(trial, deed)
}

/// What the call did on the small disk, and what it left there half-written.
fn fill(trial: &mut Trial<'_>, deed: &Deed, aside: &Path, out: &Path) -> io::Result<(Option<Ended>, Option<String>)> {
    for entry in fs::read_dir(aside)? {
        let entry = entry?;
        if tree::copy(&entry.path(), &out.join(entry.file_name())).is_err() {
            return Ok((None, None));
        }
    }
    let ended = trial.call(&deed.call(trial.world)?)?;
    let half = |p: &Path| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(".clinpeft-partial-"));
    let mut left = None;
    tree::visit(out, &mut |p, _| {
        left = left.take().or_else(|| half(p).then(|| p.display().to_string()));
        Ok(())
    })?;
    Ok((Some(ended), left))
}

/// No file may become long.
pub(super) fn short_files(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = begun(trial)?;
    let mut call = deed.call(trial.world)?;
    call.limits.blocks = Some(1 + trial.draw.below(*trial.draw.clone().pick(&[4, 40, 400])) as u64);
    let ended = trial.call(&call)?;
    managed_or_said(trial, &ended, deed)?;
    trial.expect_whole("out")?;
    again(trial, deed)
}

/// Few open files: who cannot open a folder cannot empty it either, so what is half-written may stay for the next call.
pub(super) fn few_descriptors(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = begun(trial)?;
    let mut call = deed.call(trial.world)?;
    call.limits.files = Some(8 + trial.draw.below(56) as u32);
    let ended = trial.call(&call)?;
    managed_or_said(trial, &ended, deed)?;
    again(trial, deed)
}

/// Little address space. An allocator that finds none ends the process; that is no error of the program if nothing is lost, but
/// it must not happen with a quarter of a GiB, and what it leaves must serve the next call.
pub(super) fn little_memory(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = begun(trial)?;
    let mut call = deed.call(trial.world)?;
    let mib = *trial.draw.pick(&[256u64, 384, 512, 1024]);
    call.limits.address_kib = mib << 10;
    let ended = trial.call(&call)?;
    trial.expect_code(&ended, &[0, 1]);
    again(trial, deed)
}

/// Closed, full and broken streams.
pub(super) fn streams(trial: &mut Trial<'_>) -> io::Result<()> {
    let deed = begun(trial)?;
    let mut call = deed.call(trial.world)?;
    let sinks = [Sink::Closed, Sink::Full, Sink::Broken];
    let which = trial.draw.below(3);
    if which != 1 {
        call.stdout = *trial.draw.pick(&sinks);
    }
    if which != 0 {
        call.stderr = *trial.draw.pick(&sinks);
    }
    let ended = trial.call(&call)?;
    let how = format!("stdout {:?}, stderr {:?}", call.stdout, call.stderr);
    trial.expect(matches!(ended.code, Some(0 | 1 | 141)), || {
        format!("{how}: ended with {:?} (signal {:?}): {}", ended.code, ended.signal, said(&ended))
    });
    // Only what it prints is lost, never what it writes.
    if ended.code == Some(0) {
        let calm = deed.calm(trial.world, &trial.dir)?;
        trial.expect_results(&calm.results, "out")?;
    }
    again(trial, deed)
}

/// A user who may not write there.
pub(super) fn permissions(trial: &mut Trial<'_>) -> io::Result<()> {
    if !rustix::process::getuid().is_root() {
        trial.untried = Some("needs root, to call the program as another user".into());
        return Ok(());
    }
    let deed = begun(trial)?;
    let mut call = deed.call(trial.world)?;
    call.limits.user = Some(65534);
    let temporary = trial.path("tmp");
    fs::create_dir_all(&temporary)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o777))?;
    // Once all of it belongs to another, once `out` may be written and what is in it may not.
    if trial.draw.one_in(2) {
        fs::set_permissions(trial.path("out"), fs::Permissions::from_mode(0o777))?;
    }
    let before = tree::snapshot(&trial.path("out"))?;
    let ended = trial.call(&call)?;
    trial.expect_code(&ended, &[0, 1]);
    let text = String::from_utf8_lossy(&ended.stderr);
    trial.expect(ended.code == Some(0) || text.contains("hint: "), || format!("no hint: {}", said(&ended)));
    let after = tree::snapshot(&trial.path("out"))?;
    let lost = before.keys().find(|k| !after.contains_key(*k));
    trial.expect(lost.is_none(), || format!("{lost:?} is gone"));
    trial.expect_whole("out")
}
