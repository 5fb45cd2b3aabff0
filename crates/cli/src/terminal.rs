//! What a person sees: bars on a terminal, plain lines otherwise; data on stdout, the rest on stderr.

use clinpeft_clinical::Progress;
use clinpeft_experiment::events::{ProgressEvent, RunEnd};
use clinpeft_experiment::{Error, Result, Store};
use clinpeft_report::Summary;
use clinpeft_train::Event;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use std::borrow::Cow;
use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub struct Terminal {
    bars: bool,
}

impl Terminal {
    pub fn new() -> Terminal {
        Terminal { bars: std::io::stderr().is_terminal() }
    }

    /// Data, for stdout.
    pub fn print(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(shown(text).as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)
    }

    /// Everything else, for stderr. Work does not end because nobody listens.
    pub fn say(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{}", shown(text));
    }

    pub fn warn(&self, text: &str) {
        self.say(&format!("warning: {text}"));
    }

    /// Says which folders with notes others can enter.
    pub fn warn_of_open_folders(&self, store: &Store) {
        for folder in store.open_to_others() {
            let path = folder.display();
            self.warn(&format!("`{path}` holds notes, or tokens that decode to them, and others can enter it\nhint: chmod -R go-rwx {path}"));
        }
    }

    /// How far the resamples of an interval are, every ten seconds where they take so long.
    pub fn resampled(&self, said: &Mutex<Instant>, done: usize, total: usize) {
        if let Ok(mut said) = said.try_lock()
            && said.elapsed() > Duration::from_secs(10)
        {
            *said = Instant::now();
            self.say(&format!("interval: {} of {} resamples", HumanCount(done as u64), HumanCount(total as u64)));
        }
    }

    /// The tables, and what of the runs could not be shown.
    pub fn summary(&self, summary: &Summary) -> Result<()> {
        self.print(summary.terminal())?;
        for (folder, why) in &summary.problems {
            self.warn(&format!("runs/{folder}: {why}"));
        }
        self.say(&format!("written to {}", summary.folder.display()));
        Ok(())
    }

    pub fn error(&self, text: &str) {
        self.say(&format!("error: {text}"));
    }

    fn bar(&self, total: Option<u64>, template: &str) -> ProgressBar {
        if !self.bars {
            return ProgressBar::hidden();
        }
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// For the whole matrix.
    pub fn watch(&self) -> Watch<'_> {
        Watch { terminal: self, rows: None, bar: None, running: Vec::new(), total: 0, ended: 0, since: Instant::now() }
    }

    /// For tables that stream by.
    pub fn rows(&self) -> Rows<'_> {
        let bar = self.bar(Some(0), "{bar:30} {percent}%, {elapsed}, about {eta} left  {msg}");
        Rows {
            terminal: self,
            bar,
            since: Instant::now(),
            table: Cell::new(("", 0, Instant::now())),
            said: Cell::new(Instant::now()),
        }
    }

    /// For one run.
    pub fn steps(&self) -> Steps<'_> {
        Steps { terminal: self, bar: None }
    }
}

pub struct Rows<'a> {
    terminal: &'a Terminal,
    bar: ProgressBar,
    since: Instant,
    /// The table at work, its rows at its first event, and when that was.
    table: Cell<(&'static str, u64, Instant)>,
    said: Cell<Instant>,
}

/// Between two plain lines where there is no terminal.
const QUIET: Duration = Duration::from_secs(30);

impl Rows<'_> {
    pub fn tick(&self, p: Progress) {
        if self.table.get().0 != p.table {
            self.table.set((p.table, p.rows, Instant::now()));
        }
        let (_, first, since) = self.table.get();
        let rate = p.rows.saturating_sub(first) as f64 / since.elapsed().as_secs_f64().max(0.001);
        let table = format!("{}: {} rows, {} a second", p.table, HumanCount(p.rows), HumanCount(rate as u64));
        self.bar.set_length(p.total);
        self.bar.set_position(p.done);
        if !self.terminal.bars && self.said.get().elapsed() >= QUIET {
            self.said.set(Instant::now());
            let left = remaining(self.since.elapsed(), p.done, p.total);
            let percent = p.done * 100 / p.total.max(1);
            self.terminal.say(&format!("{percent} %, about {} left  {table}", HumanDuration(left)));
        }
        self.bar.set_message(table);
    }
}

/// Text without characters that would steer a terminal: names in foreign files may hold some.
fn shown(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    // Marks that turn the direction of writing, and letters without width, hide what a name is.
    let hides =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    if !text.contains(|c| steers(c) || hides(c)) {
        return text.into();
    }
    let one = |c: char| if steers(c) || hides(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(one).collect::<String>().into()
}

/// Time that is left if the rest goes as fast as what is done.
fn remaining(spent: Duration, done: u64, total: u64) -> Duration {
    spent.mul_f64(total.saturating_sub(done) as f64 / done.max(1) as f64)
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

pub struct Watch<'a> {
    terminal: &'a Terminal,
    rows: Option<Rows<'a>>,
    bar: Option<ProgressBar>,
    running: Vec<String>,
    total: usize,
    ended: usize,
    since: Instant,
}

impl Watch<'_> {
    pub fn on_event(&mut self, event: &ProgressEvent<'_>) {
        match event {
            ProgressEvent::Cohort(p) => {
                let terminal = self.terminal;
                self.rows.get_or_insert_with(|| terminal.rows()).tick(*p);
            }
            ProgressEvent::Plan(runs) => {
                self.rows = None;
                self.total = runs.len();
                let template = "{bar:30} {pos}/{len} runs, {elapsed}, about {eta} left  {msg}";
                self.bar = Some(self.terminal.bar(Some(runs.len() as u64), template));
                if !self.terminal.bars {
                    self.terminal.say(&format!("{} runs", runs.len()));
                }
            }
            ProgressEvent::RunStarted(run) => {
                self.running.push(run.name.clone());
                self.show();
            }
            ProgressEvent::DataDamaged(why) => self.aside(&format!("warning: {why}\nit is made again")),
            ProgressEvent::RunDamaged(run, why) => {
                self.aside(&format!("warning: {}: {why}\nthe run is made again", run.name))
            }
            ProgressEvent::RunEnded(run, end) => {
                self.running.retain(|r| *r != run.name);
                self.ended += 1;
                self.line(&run.name, end);
                self.show();
            }
        }
    }

    fn show(&self) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.ended as u64);
            bar.set_message(self.running.join(", "));
        }
    }

    fn line(&self, name: &str, end: &RunEnd) {
        let text = match end {
            RunEnd::Before => return,
            RunEnd::Now(seconds) => format!("done in {seconds} s"),
            RunEnd::Failed(e) => format!("FAILED: {e}"),
            RunEnd::Stopped => "stopped with a checkpoint".into(),
        };
        self.aside(&format!("[{}/{}, {} s] {name}: {text}", self.ended, self.total, self.since.elapsed().as_secs()));
    }

    /// A line above the bar.
    fn aside(&self, line: &str) {
        match &self.bar {
            Some(bar) if self.terminal.bars => bar.suspend(|| self.terminal.say(line)),
            _ => self.terminal.say(line),
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.rows = None;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

pub struct Steps<'a> {
    terminal: &'a Terminal,
    bar: Option<ProgressBar>,
}

impl Steps<'_> {
    pub fn on_event(&mut self, event: &Event, total: u64) {
        let terminal = self.terminal;
        let template = "{bar:30} step {pos}/{len}, {per_sec}, about {eta} left  {msg}";
        let bar = self.bar.get_or_insert_with(|| terminal.bar(Some(total), template));
        match event {
            Event::Status { table, step, .. } => {
                let when = if *step == 0 { "before the first step" } else { "after the first step" };
                bar.suspend(|| terminal.say(&format!("{when}\n{table}")));
            }
            Event::Step { step, loss, learning_rate, .. } => {
                bar.set_position(*step);
                bar.set_message(format!("loss {loss:.4}"));
                if !terminal.bars && step.is_multiple_of(100) {
                    terminal.say(&format!("step {step}/{total}  loss {loss:.4}  learning rate {learning_rate:.2e}"));
                }
            }
            Event::Epoch { epoch, loss, score, .. } => {
                let score = score.map_or(String::new(), |s| format!("  validation AUROC {s:.4}"));
                bar.suspend(|| terminal.say(&format!("epoch {epoch}  mean loss {loss:.4}{score}")));
            }
        }
    }
}

impl Drop for Steps<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_a_terminal() {
        assert_eq!(shown("a\n\tb é"), "a\n\tb é");
        assert_eq!(shown("\u{1b}[2J\r\u{202e}x"), "\\u{1b}[2J\\u{d}\\u{202e}x");
    }

    #[test]
    fn remaining_time_goes_by_the_work_done() {
        let minute = Duration::from_secs(60);
        assert_eq!(remaining(minute, 1, 4), 3 * minute);
        assert_eq!(remaining(minute, 4, 4), Duration::ZERO);
        assert_eq!(remaining(Duration::ZERO, 0, 4), Duration::ZERO);
    }
}
