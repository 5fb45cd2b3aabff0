//! What a person sees: bars on a terminal, plain lines otherwise; data on stdout, the rest on stderr.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the one place that talks")]

use clinpeft_experiment::launch::{Ended, News};
use clinpeft_experiment::reproduce::Heard;
use clinpeft_train::Event;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

pub struct Terminal {
    bars: bool,
}

impl Terminal {
    pub fn new() -> Terminal {
        Terminal { bars: std::io::stderr().is_terminal() }
    }

    /// Data, for stdout.
    pub fn print(&self, text: &str) {
        print!("{text}");
    }

    pub fn say(&self, text: &str) {
        eprintln!("{text}");
    }

    pub fn error(&self, text: &str) {
        eprintln!("error: {text}");
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
    pub fn rows(&self) -> Rows {
        let bar = self.bar(None, "{spinner} {msg} {human_pos} rows, {per_sec}, {elapsed}");
        Rows { bar, table: RefCell::new("") }
    }

    /// For one run.
    pub fn steps(&self) -> Steps<'_> {
        Steps { terminal: self, bar: None }
    }
}

pub struct Rows {
    bar: ProgressBar,
    table: RefCell<&'static str>,
}

impl Rows {
    pub fn tick(&self, table: &'static str, rows: u64) {
        if *self.table.borrow() != table {
            *self.table.borrow_mut() = table;
            self.bar.set_message(table);
            self.bar.reset();
        }
        self.bar.set_position(rows);
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

pub struct Watch<'a> {
    terminal: &'a Terminal,
    rows: Option<Rows>,
    bar: Option<ProgressBar>,
    running: Vec<String>,
    total: usize,
    ended: usize,
    since: Instant,
}

impl Watch<'_> {
    pub fn hear(&mut self, heard: &Heard<'_>) {
        match heard {
            Heard::Cohort(p) => {
                let terminal = self.terminal;
                self.rows.get_or_insert_with(|| terminal.rows()).tick(p.table, p.rows);
            }
            Heard::Plan(runs) => {
                self.rows = None;
                self.total = runs.len();
                let template = "{bar:30} {pos}/{len} runs, {elapsed}, about {eta} left  {msg}";
                self.bar = Some(self.terminal.bar(Some(runs.len() as u64), template));
                if !self.terminal.bars {
                    self.terminal.say(&format!("{} runs", runs.len()));
                }
            }
            Heard::Run(News::Started(run)) => {
                self.running.push(run.name.clone());
                self.show();
            }
            Heard::Run(News::Ended(run, end)) => {
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

    fn line(&self, name: &str, end: &Ended) {
        let text = match end {
            Ended::Before => return,
            Ended::Now(seconds) => format!("done in {seconds} s"),
            Ended::Failed(e) => format!("FAILED: {e}"),
            Ended::Stopped => "stopped with a checkpoint".into(),
        };
        let line = format!("[{}/{}, {} s] {name}: {text}", self.ended, self.total, self.since.elapsed().as_secs());
        match &self.bar {
            Some(bar) if self.terminal.bars => bar.suspend(|| self.terminal.say(&line)),
            _ => self.terminal.say(&line),
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
    pub fn hear(&mut self, event: &Event, total: u64) {
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
