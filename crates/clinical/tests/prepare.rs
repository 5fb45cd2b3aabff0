//! The corrected rules, the corpus, and what a dataset folder promises.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod support;

use clinpeft_clinical::prepare::{CorpusSource, Diff, Fidelity, IdSource, Manifest, NearDuplicates, prepare};
use clinpeft_clinical::synth::synth;
use clinpeft_clinical::{CorpusSplit, Dataset, IdKey, Label, SubjectId, Task, load_corpus};
use clinpeft_rng::Seed;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use support::{cohort, options};

fn prepared(dir: &Path, fidelity: Fidelity) -> Manifest {
    let mut options = options(&dir.join("mimic3"), &dir.join(fidelity.name()), fidelity);
    options.mimic4_note = Some(dir.join("mimic4-note"));
    options.corpus = CorpusSource::Mimic4;
    prepare(&options, &|_| {}).unwrap()
}

#[test]
fn no_patient_is_in_two_splits_of_any_task() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 300);
    prepared(dir.path(), Fidelity::Paper);
    let mut place: BTreeMap<SubjectId, usize> = BTreeMap::new();
    for task in Task::PUBLISHED {
        let dataset = Dataset::load(&dir.path().join("paper"), task).unwrap();
        for (split, examples) in [&dataset.train, &dataset.validation, &dataset.test].into_iter().enumerate() {
            for example in examples {
                assert_eq!(*place.entry(example.subject).or_insert(split), split);
            }
        }
    }
}

#[test]
fn what_tells_the_outcome_is_in_no_admission_note() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 300);
    prepared(dir.path(), Fidelity::Paper);
    for task in Task::PUBLISHED {
        let dataset = Dataset::load(&dir.path().join("paper"), task).unwrap();
        for example in dataset.train.iter().chain(&dataset.validation).chain(&dataset.test) {
            let text = example.text.expose().to_lowercase();
            for leak in ["intubated for days", "discharged in", "bedside", "hospital course", "home with service"] {
                assert!(!text.contains(leak), "{task}: {leak}");
            }
            if task == Task::Mortality {
                assert!(!text.contains("expired") && !text.contains("passed away"));
            }
        }
    }
}

#[test]
fn header_variants_and_last_sections_are_kept_by_the_corrected_rules_only() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 300);
    let empty = |fidelity: Fidelity| {
        prepared(dir.path(), fidelity);
        let dataset = Dataset::load(&dir.path().join(fidelity.name()), Task::Mortality).unwrap();
        let is_empty =
            |text: &str| text.contains("MEDICAL HISTORY: \n") || text.contains("MEDICATION ON ADMISSION: \n");
        dataset.train.iter().filter(|e| is_empty(e.text.expose())).count()
    };
    assert_eq!(empty(Fidelity::Paper), 0);
    assert!(empty(Fidelity::Code) > 0);
}

#[test]
fn procedure_codes_keep_their_zeros_in_the_corrected_rules_only() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 300);
    for (fidelity, label) in [(Fidelity::Paper, "006"), (Fidelity::Code, "66")] {
        prepared(dir.path(), fidelity);
        let dataset = Dataset::load(&dir.path().join(fidelity.name()), Task::Procedures).unwrap();
        assert!(dataset.labels.iter().any(|l| l == label), "{label}");
    }
}

#[test]
fn labels_are_distributed_as_the_process_says() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 1500);
    let manifest = prepared(dir.path(), Fidelity::Paper);
    let share = |task: Task, class: usize| {
        let counts: Vec<_> = manifest.counts.iter().filter(|c| c.task == task.name()).collect();
        let all: u64 = counts.iter().map(|c| c.samples).sum();
        counts.iter().map(|c| c.per_class[class]).sum::<u64>() as f64 / all as f64
    };
    assert!((0.11..0.19).contains(&share(Task::Mortality, 1)));
    assert!((0.40..0.68).contains(&share(Task::Ventilation, 1)));
    for class in 0..4 {
        assert!((0.05..0.45).contains(&share(Task::LengthOfStay, class)), "{class}");
    }
    let dataset = Dataset::load(&dir.path().join("paper"), Task::Diagnoses).unwrap();
    let labels: usize = dataset
        .train
        .iter()
        .map(|e| match &e.label {
            Label::Set(set) => set.len(),
            Label::Class(_) => 0,
        })
        .sum();
    let mean = labels as f64 / dataset.train.len() as f64;
    assert!((4.5..7.0).contains(&mean), "{mean}");
}

#[test]
fn the_same_input_gives_the_same_folder_and_the_manifest_knows_every_file() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 150);
    let first = prepared(dir.path(), Fidelity::Paper);
    let again = prepared(dir.path(), Fidelity::Paper);
    assert_eq!(first, again);
    let folder = dir.path().join("paper");
    let files = clinpeft_files::walk(&folder).unwrap();
    assert_eq!(files.len(), first.outputs.len() + 3, "all but the manifest itself, the seal and the key of ids");
    for file in &first.outputs {
        assert_eq!(clinpeft_files::hash_file(&folder.join(&file.path)).unwrap(), file.blake3);
    }
    let read: Manifest = clinpeft_files::read_json(&folder.join("manifest.json")).unwrap();
    assert_eq!(read, first);
    for table in ["NOTEEVENTS.csv.gz", "CHARTEVENTS.csv.gz", "discharge.csv.gz"] {
        let input = first.inputs.iter().find(|i| i.name == table).unwrap();
        let path = if table.starts_with('d') { "mimic4-note" } else { "mimic3" };
        assert_eq!(clinpeft_files::hash_file(&dir.path().join(path).join(table)).unwrap(), input.blake3);
    }
}

#[test]
fn the_key_of_ids_is_kept_by_the_next_preparation_and_in_no_manifest() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 120);
    let key = |name: &str| IdKey::read(&dir.path().join(name)).unwrap();
    let manifest = |name: &str| std::fs::read_to_string(dir.path().join(name).join("manifest.json")).unwrap();
    let make = |name: &str, ids| {
        let mut options = options(&dir.path().join("mimic3"), &dir.path().join(name), Fidelity::Paper);
        options.ids = ids;
        prepare(&options, &|_| {}).unwrap();
    };
    make("a", IdSource::Kept);
    let first = key("a");
    make("a", IdSource::Kept);
    assert_eq!(key("a"), first);
    make("b", IdSource::Kept);
    assert_ne!(key("b"), first);
    assert_eq!(manifest("a"), manifest("b"), "the key is no part of the data");
    make("b", IdSource::Seeded(Seed(3)));
    assert_eq!(key("b"), IdKey::of_seed(Seed(3)));
    assert_eq!(manifest("a"), manifest("b"));
    let secret = std::fs::read_to_string(dir.path().join("a/id-key")).unwrap();
    assert!(!manifest("a").contains("id-key") && !manifest("a").contains(secret.trim()));
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 150);
    for fidelity in [Fidelity::Paper, Fidelity::Code] {
        let made = [1, 2, 5].map(|threads| {
            let mut options = options(&dir.path().join("mimic3"), &dir.path().join("data"), fidelity);
            options.mimic4_note = Some(dir.path().join("mimic4-note"));
            options.corpus = CorpusSource::Combined;
            options.diff = Diff::CodeToPaper;
            options.near_duplicates = NearDuplicates::Exclude;
            options.threads = threads;
            // Every file of the folder is in the manifest by its hash.
            prepare(&options, &|_| {}).unwrap()
        });
        assert!(made[0] == made[1] && made[1] == made[2]);
    }
}

#[test]
fn a_preparation_can_be_ended_early_and_leaves_nothing() {
    static STOP: AtomicBool = AtomicBool::new(true);
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 150);
    let mut options = options(&dir.path().join("mimic3"), &dir.path().join("out/data"), Fidelity::Paper);
    options.stop = Some(&STOP);
    let error = prepare(&options, &|_| {}).unwrap_err().to_string();
    assert!(error.contains("nothing was written") && error.contains("\nhint: "), "{error}");
    assert_eq!(std::fs::read_dir(dir.path().join("out")).unwrap().count(), 0);
}

#[test]
fn attrition_adds_up_to_the_counts() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 150);
    let manifest = prepared(dir.path(), Fidelity::Paper);
    for task in Task::PUBLISHED {
        let last = manifest.attrition.iter().rfind(|s| s.task == task.name()).unwrap();
        let samples: u64 = manifest.counts.iter().filter(|c| c.task == task.name()).map(|c| c.samples).sum();
        assert_eq!(last.kept, samples, "{task}");
    }
    let mut table = csv::Reader::from_path(dir.path().join("paper/attrition.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), manifest.attrition.len());
    let last = manifest.attrition.last().unwrap();
    assert_eq!(rows.last().unwrap(), vec![&last.task, &last.filter, &last.kept.to_string(), &last.dropped.to_string()]);
}

#[test]
fn tables_may_be_plain_and_in_lower_case() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 120);
    let first = prepared(dir.path(), Fidelity::Paper);
    let files = clinpeft_files::walk(&dir.path().join("mimic3")).unwrap();
    for path in files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "gz")) {
        let mut text = Vec::new();
        let mut packed = flate2::read::GzDecoder::new(std::fs::File::open(&path).unwrap());
        std::io::Read::read_to_end(&mut packed, &mut text).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_lowercase();
        std::fs::write(path.with_file_name(name.trim_end_matches(".gz")), text).unwrap();
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!(prepared(dir.path(), Fidelity::Paper).outputs, first.outputs);
}

#[test]
fn corpus_is_split_by_patient_in_the_corrected_rules() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 300);
    for fidelity in [Fidelity::Paper, Fidelity::Code] {
        prepared(dir.path(), fidelity);
        let folder = dir.path().join(fidelity.name());
        let patients = |split: &str| -> BTreeSet<String> {
            let mut reader = csv::Reader::from_path(folder.join(format!("adaptation/{split}.csv"))).unwrap();
            reader.records().map(|r| r.unwrap()[0].split('-').next().unwrap().to_string()).collect()
        };
        let shared = patients("train").intersection(&patients("test")).count();
        assert_eq!(shared == 0, fidelity == Fidelity::Paper, "{shared}");
        assert!(load_corpus(&folder, CorpusSplit::Test).unwrap().iter().all(|n| !n.expose().contains('\n')));
    }
}

#[test]
fn corpus_of_the_same_patients_leaves_out_those_who_are_tested() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 200);
    let mut options = options(&dir.path().join("mimic3"), &dir.path().join("data"), Fidelity::Paper);
    options.corpus = CorpusSource::Mimic3;
    let manifest = prepare(&options, &|_| {}).unwrap();
    let step = manifest.attrition.iter().rfind(|s| s.filter.contains("patient is not")).unwrap();
    assert!(step.dropped > 0 && step.kept > step.dropped);
}

#[test]
fn stays_that_both_collections_describe_are_found_by_their_text() {
    let dir = tempfile::tempdir().unwrap();
    cohort(dir.path(), 400);
    let code = prepared(dir.path(), Fidelity::Code).leaks.corpus.unwrap();
    let paper = prepared(dir.path(), Fidelity::Paper);
    let leaks = paper.leaks.corpus.clone().unwrap();
    // A tenth of the notes describes the first stay of a patient, three in ten patients are held out.
    assert!((6..24).contains(&leaks.matching_notes), "{leaks:?}");
    assert_eq!(code.matching_notes_were, "kept");
    let step = paper.attrition.iter().rfind(|s| s.task == "adaptation").unwrap();
    assert_eq!(step.dropped, leaks.matching_notes);
}

#[test]
fn collections_without_a_common_stay_share_no_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut apart = support::spec(400);
    apart.mimic4_overlap = 0.0;
    synth(&apart, Seed(7), dir.path(), &|_| {}).unwrap();
    assert_eq!(prepared(dir.path(), Fidelity::Paper).leaks.corpus.unwrap().matching_notes, 0);
}
