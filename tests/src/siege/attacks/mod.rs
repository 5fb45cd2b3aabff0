//! Attacks on the built program, one file for each kind.

use super::trial::Trial;
use std::io;

mod damage;
mod foreign;
mod growth;
mod ids;
mod kills;
mod modes;
mod pairs;
mod scarcity;
mod settings;

/// One kind of attack.
#[derive(Clone, Copy)]
pub struct Attack {
    /// Its name, `kind/what`.
    pub name: &'static str,
    /// What is done; broken promises are written into the trial.
    pub attempt: fn(&mut Trial<'_>) -> io::Result<()>,
    /// Of so many rounds it takes part in one: those that take long are rarer.
    pub every: u64,
}

/// All of them, in the order in which they take turns.
pub const ATTACKS: &[Attack] = &[
    Attack { name: "kill/any", attempt: kills::killed, every: 1 },
    Attack { name: "signal/any", attempt: kills::signalled, every: 1 },
    Attack { name: "pair/any", attempt: pairs::two_at_once, every: 1 },
    Attack { name: "scarce/disk", attempt: scarcity::full_disk, every: 1 },
    Attack { name: "scarce/file-size", attempt: scarcity::short_files, every: 1 },
    Attack { name: "scarce/descriptors", attempt: scarcity::few_descriptors, every: 1 },
    Attack { name: "scarce/memory", attempt: scarcity::little_memory, every: 1 },
    Attack { name: "scarce/streams", attempt: scarcity::streams, every: 1 },
    Attack { name: "scarce/permissions", attempt: scarcity::permissions, every: 1 },
    Attack { name: "foreign/out", attempt: foreign::output, every: 1 },
    Attack { name: "foreign/beside", attempt: foreign::beside, every: 1 },
    Attack { name: "foreign/inside", attempt: foreign::inside, every: 1 },
    Attack { name: "foreign/scores", attempt: foreign::scores, every: 1 },
    Attack { name: "leak/modes", attempt: modes::private, every: 3 },
    Attack { name: "leak/ids", attempt: ids::recovered, every: 10 },
    Attack { name: "settings/run", attempt: settings::run_toml, every: 1 },
    Attack { name: "settings/set", attempt: settings::set, every: 1 },
    Attack { name: "settings/config", attempt: settings::config, every: 1 },
    Attack { name: "settings/adapter", attempt: settings::adapter, every: 1 },
    Attack { name: "settings/names", attempt: settings::names, every: 1 },
    Attack { name: "damage/store", attempt: damage::store, every: 1 },
    Attack { name: "damage/checkpoint", attempt: damage::checkpoint, every: 2 },
    Attack { name: "damage/data", attempt: damage::data, every: 1 },
    Attack { name: "memory/steps", attempt: growth::steps, every: 60 },
];
