//! Reverse-mode differentiation: one backward rule per op, recomputation, gradient checks.
