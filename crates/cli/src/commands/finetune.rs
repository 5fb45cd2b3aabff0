//! Step 2 on folders of one's own.

use super::adapt::Own;
use super::run::carry_out;
use crate::terminal::Terminal;
use clap::Args;
use clap::builder::PossibleValuesParser;
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
    /// The task: mortality, length_of_stay, ventilation, diagnoses, procedures or readmission
    #[arg(long)]
    task: Task,
    /// Method of a new adapter; none: only the head learns, and the clinical adapter if there is one. bag-of-words: TF-IDF and
    /// logistic regression on whole notes, without --base
    #[arg(long, value_parser = PossibleValuesParser::new(methods().into_iter().chain([BAG_OF_WORDS])))]
    method: Option<String>,
    /// Run folder of `adapt` whose adapter lies below
    #[arg(long, conflicts_with = "full")]
    clinical: Option<PathBuf>,
    /// The clinical adapter stays as it is
    #[arg(long, requires = "clinical")]
    frozen: bool,
    /// The whole model learns, without adapters
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
