//! Optimiser step, schedule, accumulation, evaluation, checkpoint and resume.
