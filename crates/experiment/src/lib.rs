//! The experiment matrix, profiles, run store, launcher, and the program.
