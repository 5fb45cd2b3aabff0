//! Writes the samples of the tasks as the admission notes pass by.

use super::inputs::TaskInputs;
use super::recipe;
use super::sources::LabelSources;
use super::task_recipe::Sample;
use crate::error::{Error, Result};
use crate::ids::HadmId;
use crate::output::Output;
use crate::prepare::filters::Filter;
use crate::prepare::manifest_builder::ManifestBuilder;
use crate::prepare::options::{CorpusSource, NearDuplicates, PrepareOptions};
use crate::prepare::record::flow::{ClassCounts, Count, FlowCounts};
use crate::prepare::split::{self, Splitter};
use crate::progress::ProgressMeter;
use crate::task::{Split, Task};
use std::collections::BTreeSet;
use std::path::Path;

/// The files and counts of one task.
struct TaskWriter {
    task: Task,
    outputs: [Output; 3],
    flow: FlowCounts,
    classes: ClassCounts,
}

/// Writes the files of all tasks that are asked for, and `subjects.csv`.
pub(in crate::prepare) fn write(
    options: &PrepareOptions,
    inputs: &mut TaskInputs,
    out: &Path,
    splitter: &Splitter,
    builder: &mut ManifestBuilder,
    meter: &ProgressMeter<'_>,
) -> Result<()> {
    let excluded = match options.near_duplicates {
        NearDuplicates::Keep => BTreeSet::new(),
        NearDuplicates::Exclude => leaking(options, inputs, splitter, builder, meter)?,
    };
    let mut writers = Vec::new();
    for task in options.tasks() {
        writers.push(TaskWriter::create(task, out, &inputs.sources)?);
        builder.labels.insert(task.name().into(), (recipe(task).labels)(&inputs.sources, task).len() as u64);
    }
    let mut subjects = Output::create(&out.join("subjects.csv"), &["id", "subject"])?;
    inputs.each(options, splitter, meter, |sample, note| {
        let entry = match options.near_duplicates {
            NearDuplicates::Keep => Some(builder.near_duplicates.add(sample.subject, note.bodies())),
            NearDuplicates::Exclude => None,
        };
        let mut splits = BTreeSet::new();
        for writer in &mut writers {
            let Some(split) = writer.take(sample, &excluded)? else {
                continue;
            };
            splits.insert(split);
            if let Some(entry) = entry {
                builder.near_duplicates.join(entry, writer.task, split);
            }
        }
        if splits.iter().any(|split| *split != Split::Train) && options.corpus != CorpusSource::None {
            builder.held_out.add(note.bodies());
        }
        if !splits.is_empty() {
            subjects.row([sample.id.to_string(), sample.subject.to_string()])?;
        }
        Ok(())
    })?;
    builder.written.extend([subjects.finish()?]);
    builder.attrition.extend(inputs.notes.rows.steps());
    builder.attrition.extend(inputs.notes.admissions.steps());
    for writer in writers {
        if writer.task == Task::Ventilation {
            let candidates = &mut inputs.sources.candidates;
            builder.attrition.append(&mut candidates.attrition);
            let unused = candidates.listed().saturating_sub(writer.flow.kept());
            builder.irregularities.note_many("ventilation list: admission without a sample", unused);
        }
        writer.finish(builder)?;
    }
    Ok(())
}

/// Samples of training whose like is held out; a pass of its own, since they are to be left out before they are written.
fn leaking(
    options: &PrepareOptions,
    inputs: &mut TaskInputs,
    splitter: &Splitter,
    builder: &mut ManifestBuilder,
    meter: &ProgressMeter<'_>,
) -> Result<BTreeSet<(Task, HadmId)>> {
    let mut ids = Vec::new();
    inputs.each(options, splitter, meter, |sample, note| {
        let entry = builder.near_duplicates.add(sample.subject, note.bodies());
        ids.push(sample.id);
        for task in options.tasks() {
            if let Ok(labelled) = recipe(task).labelled(sample) {
                builder.near_duplicates.join(entry, task, labelled.split);
            }
        }
        Ok(())
    })?;
    inputs.notes.apply(inputs.rules);
    Ok(builder.near_duplicates.leaking().into_iter().map(|(task, entry)| (task, ids[entry])).collect())
}

impl TaskWriter {
    fn create(task: Task, out: &Path, sources: &LabelSources) -> Result<TaskWriter> {
        let folder = out.join(task.name());
        let file = |split: Split| Output::create(&folder.join(format!("{split}.csv")), &["id", "text", "label"]);
        let outputs = [file(Split::Train)?, file(Split::Validation)?, file(Split::Test)?];
        let recipe = recipe(task);
        let labels = (recipe.labels)(sources, task);
        let path = folder.join("labels.txt");
        std::fs::write(&path, labels.join("\n") + "\n").map_err(Error::at("write", &path))?;
        Ok(TaskWriter {
            task,
            outputs,
            flow: FlowCounts::new(task.name(), &recipe.all_filters(sources)),
            classes: ClassCounts::new(task.classes().map_or(0, <[_]>::len)),
        })
    }

    /// Writes the sample, if it is one of this task; returns its split.
    fn take(&mut self, sample: &Sample<'_>, excluded: &BTreeSet<(Task, HadmId)>) -> Result<Option<Split>> {
        let labelled = match recipe(self.task).labelled(sample) {
            Ok(l) if l.split == Split::Train && excluded.contains(&(self.task, sample.id)) => {
                Err(Filter::NoHeldOutDuplicate)
            }
            other => other,
        };
        let labelled = match labelled {
            Ok(labelled) => labelled,
            Err(filter) => {
                self.flow.drop_by(filter);
                return Ok(None);
            }
        };
        self.flow.keep();
        self.classes.add(labelled.split, labelled.label.class);
        let cells = [&sample.id.to_string(), labelled.text, &labelled.label.text];
        self.outputs[labelled.split as usize].row(cells)?;
        Ok(Some(labelled.split))
    }

    fn finish(self, builder: &mut ManifestBuilder) -> Result<()> {
        builder.attrition.extend(self.flow.steps());
        split::require_samples(self.task.name(), &self.classes.samples)?;
        for (split, per_class) in Split::ALL.into_iter().zip(self.classes.per_class) {
            builder.counts.push(Count {
                task: self.task.name().into(),
                split: split.name().into(),
                samples: self.classes.samples[split as usize],
                per_class,
            });
        }
        for output in self.outputs {
            builder.written.extend([output.finish()?]);
        }
        Ok(())
    }
}
