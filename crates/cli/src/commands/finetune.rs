//! `clinpeft finetune`: step 2 on a user's folders.

use super::adapt::Own;
use super::run::carry_out;
use crate::terminal::Terminal;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clinpeft_clinical::Task;
use clinpeft_experiment::user_runs::{BAG_OF_WORDS, BaseAdapter, FinetuneMode, finetune, methods};
use clinpeft_experiment::{Result, Store};
use clinpeft_nn::Trainability;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(mut_arg("base", |base| base.required(false)))]
pub struct Finetune {
    #[command(flatten)]
    own: Own,
    /// Task to train for
    #[arg(long, value_parser = PossibleValuesParser::new(Task::ALL.map(Task::name)).try_map(|name| name.parse::<Task>()))]
    task: Task,
    /// Adapter to train, or `bag-of-words` for TF-IDF and logistic regression without --base [default: none: train the head
    /// alone, or the head and the clinical adapter]
    #[arg(long, value_parser = PossibleValuesParser::new(methods().into_iter().chain([BAG_OF_WORDS])))]
    method: Option<String>,
    /// Clinical adapter to start from: run folder made by `adapt`
    #[arg(long, conflicts_with = "full")]
    clinical: Option<PathBuf>,
    /// Keep the clinical adapter frozen
    #[arg(long, requires = "clinical")]
    frozen: bool,
    /// Train all weights of the model, without adapters
    #[arg(long, conflicts_with = "method")]
    full: bool,
}

pub fn run(o: &Finetune, terminal: &Terminal) -> Result<()> {
    let learning = if o.frozen { Trainability::Frozen } else { Trainability::Trainable };
    let below = o.clinical.clone().map(|run| BaseAdapter { run, learning });
    let learner = match (&o.method, o.full) {
        (Some(method), _) if method == BAG_OF_WORDS => FinetuneMode::BagOfWords,
        (Some(method), _) => FinetuneMode::Adapter(method.clone()),
        (None, true) => FinetuneMode::Whole,
        (None, false) => FinetuneMode::Head,
    };
    let store = Store::new(&o.own.out);
    terminal.warn_of_open_folders(&store);
    let folder = finetune(&store, &o.own.options(), o.task, below, &learner)?;
    carry_out(&folder, o.own.threads, &o.own.place, terminal)
}
