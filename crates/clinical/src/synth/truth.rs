//! Writes the true probabilities of every admission.

use super::groups::{DIAGNOSES, Group, PROCEDURES, Ventilation};
use super::patient::Admission;
use super::raw::Cell::{Measure, Number};
use super::raw::{Part, RawTable};
use super::readmission;
use crate::error::Result;
use crate::task::Task;

/// One file per task.
pub struct TruthTables {
    tables: Vec<(Task, RawTable)>,
    stays: [u32; 2],
}

impl TruthTables {
    /// Begins a block of patients.
    pub fn create(block: u64, stays: [u32; 2]) -> Result<TruthTables> {
        let mut tables = Vec::new();
        for task in Task::ALL {
            let labels: Vec<&str> = match task {
                Task::Diagnoses => DIAGNOSES.iter().map(|g| g.name).collect(),
                Task::Procedures => PROCEDURES.iter().map(|g| g.name).collect(),
                _ => task.classes().unwrap_or_default().to_vec(),
            };
            let columns: Vec<&str> = std::iter::once("id").chain(labels).collect();
            tables.push((task, RawTable::create_bare(block, &format!("{task}.csv"), &columns)?));
        }
        Ok(TruthTables { tables, stays })
    }

    /// Writes one admission to every file.
    pub fn write(&mut self, admission: &Admission) -> Result<()> {
        for (task, table) in &mut self.tables {
            let mut cells = vec![Number(admission.id.0)];
            cells.extend(probabilities(*task, admission, self.stays).into_iter().map(Measure));
            table.row(&cells)?;
        }
        Ok(())
    }

    /// Ends the block.
    pub fn finish(self) -> Result<Vec<Part>> {
        self.tables.into_iter().map(|(_, table)| table.finish()).collect()
    }
}

/// The probabilities of a task's labels given what the note reveals.
fn probabilities(task: Task, admission: &Admission, stays: [u32; 2]) -> Vec<f64> {
    let odds = &admission.odds;
    let groups = |groups: &[Group]| {
        let ventilation = Ventilation::Probable(odds.ventilated);
        groups.iter().map(|g| g.probability(&admission.facts, ventilation)).collect()
    };
    match task {
        Task::Diagnoses => groups(&DIAGNOSES),
        Task::Procedures => groups(&PROCEDURES),
        Task::Mortality => vec![1.0 - odds.death, odds.death],
        Task::LengthOfStay => odds.stay.to_vec(),
        Task::Ventilation => vec![1.0 - odds.prolonged, odds.prolonged],
        Task::Readmission => {
            let p = readmission::probability(&admission.facts, stays);
            vec![1.0 - p, p]
        }
    }
}
