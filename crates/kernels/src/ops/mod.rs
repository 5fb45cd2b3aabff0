//! The operations, one file each, named as in `clinpeft_tensor::ops`, where shapes are checked before a backend is called.

pub(crate) mod elementwise;
pub(crate) mod matmul;
pub(crate) mod rms_norm;
