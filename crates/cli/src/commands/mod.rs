//! The commands of the program, one file each: its options, and a call into the library.

pub mod adapt;
pub mod compare;
pub mod convert;
pub mod doctor;
pub mod evaluate;
pub mod finetune;
pub mod merge;
pub mod predict;
pub mod prepare;
pub mod report;
pub mod reproduce;
pub mod run;
pub mod search;
pub mod synth;
