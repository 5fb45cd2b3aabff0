//! The samples of the tasks: one recipe per task, and one line in [`recipe`].

mod codes;
mod death;
pub(super) mod inputs;
mod length_of_stay;
mod mortality;
mod readmission;
mod sources;
mod task_recipe;
mod ventilation;
pub(super) mod write;

use crate::task::Task;
use task_recipe::TaskRecipe;

/// How the samples of a task are made.
pub(super) const fn recipe(task: Task) -> &'static TaskRecipe {
    match task {
        Task::Diagnoses => &codes::DIAGNOSES,
        Task::Procedures => &codes::PROCEDURES,
        Task::Mortality => &mortality::RECIPE,
        Task::LengthOfStay => &length_of_stay::RECIPE,
        Task::Ventilation => &ventilation::RECIPE,
        Task::Readmission => &readmission::RECIPE,
    }
}
