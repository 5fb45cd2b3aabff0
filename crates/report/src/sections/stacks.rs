//! Who took part and who learned: the stack of each row as its run printed it.

use maud::html;

use crate::document::Audience;
use crate::events::Events;
use crate::format::heading;
use crate::store::State;
use crate::view::View;

impl View<'_, '_> {
    /// Adds the section: for each row its first run that is done.
    pub(crate) fn stacks(&mut self) {
        let mut section = self.section("Stacks");
        section.caption = format!(
            "Each adapter of each row in its first finished run, with the gradient norm after the first step (in the table) \
             and at the last one. A trainable adapter without a gradient ends a run with an error. Fidelity: {}.",
            self.plan.fidelity
        );
        section.audience = Audience::Curious;
        let adaptations = self.plan.table2.iter().map(|row| (row.as_str(), vec![None]));
        let tasks: Vec<Option<&str>> = self.plan.tasks.iter().map(|t| Some(t.as_str())).collect();
        let rows = self.plan.downstream_rows().into_iter().map(|row| (row, tasks.clone()));
        for (row, tasks) in adaptations.chain(rows) {
            let runs = tasks.iter().filter_map(|task| self.store.find(&self.key(row, *task, self.plan.first_seed())));
            let Some(run) = runs.into_iter().find(|run| run.state == State::Done) else { continue };
            let events = Events::read(&run.path);
            let norms: Vec<String> = events.last_norms.iter().map(|(name, n)| format!("{name} {n:.3e}")).collect();
            section.pictures.push(html! {
                div.stack {
                    h3 { (row) " (" (run.key.task.as_deref().map_or_else(|| "adaptation".into(), heading)) ")" }
                    pre { @if events.stack.is_empty() { "no status was recorded" } @else { (events.stack) } }
                    @if !norms.is_empty() { p { "At the last step: " (norms.join(", ")) "." } }
                }
            });
        }
        self.document.sections.push(section);
    }
}
