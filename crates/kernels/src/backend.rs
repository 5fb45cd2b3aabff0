//! The contract of `clinpeft-tensor`, operation by operation.

use crate::context::DeviceContext;
use crate::device::DeviceBackend;
use crate::limits::Limits;
use crate::{ops, packed_half};
use clinpeft_tensor::ops::{AdamW, AdamWParam, AttentionShape, Clip, CuSeqlens, Direction, Layout};
use clinpeft_tensor::rng::Key;
use clinpeft_tensor::{Backend, DType, Result, Tensor, for_each_op};
use cubecl::Runtime;
use std::path::Path;
use std::sync::atomic::Ordering;

impl<R: Runtime> DeviceBackend for DeviceContext<R> {
    fn limits(&self) -> Limits {
        DeviceContext::limits(self)
    }

    fn use_file(&self, file: &Path, what: &str) -> Result<()> {
        self.autotune.use_file(file, what)
    }
}

macro_rules! backend {
    (differentiable { $($op:ident { $($methods:tt)* })* } in_place { $($other:ident { $($more:tt)* })* }) => {
        backend! { $($op { $($methods)* })* $($other { $($more)* })* }
    };
    ($($op:ident { $(fn $name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)* })*) => {
        impl<R: Runtime> Backend for DeviceContext<R> {
            fn name(&self) -> String {
                DeviceContext::name(self)
            }

            fn memory(&self) -> Result<Option<u64>> {
                self.reserved().map(Some)
            }

            fn upload(&self, tensor: &Tensor) -> Result<Tensor> {
                DeviceContext::upload(self, tensor)
            }

            fn cast(&self, tensor: &Tensor, dtype: DType) -> Result<Tensor> {
                packed_half::cast(self, tensor, dtype)
            }

            fn download(&self, tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
                self.download_all(tensors)
            }

            fn downloads(&self) -> u64 {
                self.downloads.load(Ordering::Relaxed)
            }

            $($(
                fn $name(&self $(, $arg: $ty)*) -> Result<$out> {
                    ops::$op::$name(self $(, $arg)*)
                }
            )*)*
        }
    };
}
for_each_op!(backend);
