//! Child processes under limits, watched until they end.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// What a child may use. Limits of the shell, so that they also hold for what the child starts.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Address space in KiB (`ulimit -v`).
    pub address_kib: u64,
    /// Open files (`ulimit -n`).
    pub files: Option<u32>,
    /// Length of a written file in blocks of 512 bytes (`ulimit -f`).
    pub blocks: Option<u64>,
    /// `umask`.
    pub umask: &'static str,
    /// User and group of the child; as the harness if absent.
    pub user: Option<u32>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { address_kib: 6 << 20, files: None, blocks: None, umask: "022", user: None }
    }
}

/// Where a stream of the child goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// Into a pipe that is read to its end.
    Kept,
    /// Nowhere: the descriptor is closed.
    Closed,
    /// `/dev/full`.
    Full,
    /// A pipe whose reader is gone.
    Broken,
}

/// One call of the program.
#[derive(Debug, Clone)]
pub struct Call {
    /// Arguments.
    pub words: Vec<String>,
    /// What it may use.
    pub limits: Limits,
    /// Standard output.
    pub stdout: Sink,
    /// Standard error.
    pub stderr: Sink,
}

impl Call {
    /// A call with the usual limits.
    pub fn new<S: Into<String>>(words: impl IntoIterator<Item = S>) -> Call {
        let words = words.into_iter().map(Into::into).collect();
        Call { words, limits: Limits::default(), stdout: Sink::Kept, stderr: Sink::Kept }
    }
}

/// A signal that is sent to a child.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The signal.
    pub signal: Signal,
    /// After so long.
    pub after: Duration,
}

/// How a child ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// Exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the signal of the trial reached it while it lived.
    pub disturbed: bool,
    /// Seconds from that signal to the end.
    pub stopped_within: f64,
    /// Seconds in all.
    pub seconds: f64,
    /// Whether it had to be ended because it took too long.
    pub overdue: bool,
    /// Highest resident memory of it or of one that it started, in KiB, as sampled.
    pub peak_kib: u64,
    /// Resident memory of the child itself over time, in KiB.
    pub resident: Vec<u64>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it said.
    pub stderr: Vec<u8>,
}

/// Every call ends within so many seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Of a stream, so many bytes are kept.
const MOST_KEPT: u64 = 64 << 20;

/// A process that was killed may leave others that hold its streams open: so long they are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A child at work.
pub struct Running {
    child: Child,
    started: Instant,
    /// What the two streams say, in pieces. Pipes, since the limits of the child hold for files.
    received: [Receiver<Vec<u8>>; 2],
}

/// Starts a call in `folder`, with a folder for temporary files of its own.
pub fn start(program: &Path, call: &Call, folder: &Path) -> io::Result<Running> {
    let temporary = folder.join("tmp");
    fs::create_dir_all(&temporary)?;
    let mut script = format!("umask {}; trap '' XFSZ; ulimit -v {};", call.limits.umask, call.limits.address_kib);
    if let Some(files) = call.limits.files {
        script += &format!(" ulimit -n {files};");
    }
    if let Some(blocks) = call.limits.blocks {
        script += &format!(" ulimit -f {blocks};");
    }
    script += " exec \"$@\"";
    for (sink, redirection) in [(call.stdout, [" >&-", " >/dev/full"]), (call.stderr, [" 2>&-", " 2>/dev/full"])] {
        match sink {
            Sink::Closed => script += redirection[0],
            Sink::Full => script += redirection[1],
            Sink::Kept | Sink::Broken => {}
        }
    }
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(program).args(&call.words).current_dir(folder).stdin(Stdio::null());
    command.env("TMPDIR", &temporary).env("HOME", &temporary).env_remove("RUST_BACKTRACE").process_group(0);
    let (said, to) = io::pipe()?;
    let (cried, errors_to) = io::pipe()?;
    command.stdout(if call.stdout == Sink::Broken { broken()? } else { to.into() });
    command.stderr(if call.stderr == Sink::Broken { broken()? } else { errors_to.into() });
    if let Some(user) = call.limits.user {
        command.uid(user).gid(user);
    }
    let child = command.spawn()?;
    // The command holds the writing ends: they would never be at their end.
    drop(command);
    Ok(Running { child, started: Instant::now(), received: [said, cried].map(receive) })
}

/// Reads a stream to its end on a thread of its own, so that who writes never waits.
fn receive(stream: PipeReader) -> Receiver<Vec<u8>> {
    let (to, from) = channel();
    thread::spawn(move || {
        let (mut stream, mut piece) = (stream.take(MOST_KEPT), vec![0; 64 << 10]);
        while let Ok(n @ 1..) = stream.read(&mut piece) {
            if to.send(piece[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    from
}

/// All that was received until the stream ended or the time was up.
fn all_of(received: &Receiver<Vec<u8>>) -> Vec<u8> {
    let (until, mut all) = (Instant::now() + LAST_WORDS, Vec::new());
    while let Ok(piece) = received.recv_timeout(until.saturating_duration_since(Instant::now())) {
        all.extend(piece);
    }
    all
}

/// The writing end of a pipe that nobody reads.
fn broken() -> io::Result<Stdio> {
    let (reader, writer) = io::pipe()?;
    drop(reader);
    Ok(writer.into())
}

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Watches the child to its end and sends it what is to be sent.
    pub fn watch(mut self, mut sent: Option<Sent>, patience: Duration) -> io::Result<Ended> {
        let mut ended = Ended::default();
        let (mut reached, mut sampled) = (None, Instant::now());
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            let age = self.started.elapsed();
            if let Some(s) = sent.filter(|s| age >= s.after) {
                ended.disturbed = kill_process(self.pid(), s.signal).is_ok();
                (reached, sent) = (Some(Instant::now()), None);
            }
            if age > patience {
                ended.overdue = true;
                let _ = kill_process_group(self.pid(), Signal::KILL);
                break self.child.wait()?;
            }
            if sampled.elapsed() >= Duration::from_millis(10) {
                sampled = Instant::now();
                ended.resident.extend(memory(self.child.id(), "VmRSS:"));
                ended.peak_kib = ended.peak_kib.max(peak(self.child.id()));
            }
            thread::sleep(Duration::from_millis(2));
        };
        ended.seconds = self.started.elapsed().as_secs_f64();
        ended.stopped_within = reached.map_or(0.0, |at| at.elapsed().as_secs_f64());
        (ended.code, ended.signal) = (status.code(), status.signal());
        // A signal that came when it had ended is none.
        ended.disturbed &= ended.signal.is_some() || ended.code == Some(130) || ended.code.is_none();
        [ended.stdout, ended.stderr] = [0, 1].map(|i| all_of(&self.received[i]));
        Ok(ended)
    }
}

/// A figure of `/proc/PID/status`, in KiB.
fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Highest resident memory of a process and of those that it started.
fn peak(pid: u32) -> u64 {
    let own = memory(pid, "VmHWM:").unwrap_or(0);
    let below = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below = below.split_whitespace().filter_map(|p| p.parse().ok()).map(peak);
    below.max().unwrap_or(0).max(own)
}

/// The last two lines of what a call said.
pub fn said(ended: &Ended) -> String {
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join(" / ").chars().take(400).collect()
}
