//! Shapes, dtypes, storage, the op contract and its CPU implementation.
