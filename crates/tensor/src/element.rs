//! Element types and where their values are kept.

use crate::buffer::Buffer;
use half::{bf16, f16};
use std::sync::Arc;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 32-bit float: adapters, activations, accumulators.
    F32,
    /// 64-bit float: the oracle and gradient checks.
    F64,
    /// bfloat16: storage of frozen weights.
    Bf16,
    /// IEEE half: storage of frozen weights.
    F16,
    /// Token ids, positions, class labels.
    U32,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::F64 => 8,
            DType::F32 | DType::U32 => 4,
            DType::Bf16 | DType::F16 => 2,
        }
    }
}

/// Values on the CPU.
#[derive(Debug, Clone)]
pub enum Host {
    /// See [`DType::F32`].
    F32(Arc<Buffer<f32>>),
    /// See [`DType::F64`].
    F64(Arc<Buffer<f64>>),
    /// See [`DType::Bf16`].
    Bf16(Arc<Buffer<bf16>>),
    /// See [`DType::F16`].
    F16(Arc<Buffer<f16>>),
    /// See [`DType::U32`].
    U32(Arc<Buffer<u32>>),
}

/// A Rust type that can be an element.
pub trait Element: bytemuck::Pod + Copy + Send + Sync + Default + std::fmt::Debug + 'static {
    /// Its dtype.
    const DTYPE: DType;
    /// Puts values into storage.
    fn wrap(values: Arc<Buffer<Self>>) -> Host;
    /// Takes storage of this type.
    fn unwrap(host: &Host) -> Option<&Arc<Buffer<Self>>>;
    /// Takes storage of this type for writing.
    fn unwrap_mut(host: &mut Host) -> Option<&mut Arc<Buffer<Self>>>;
    /// The value as `f64`.
    fn to_f64(self) -> f64;
    /// The nearest value to an `f64`.
    fn from_f64(x: f64) -> Self;
}

macro_rules! element {
    ($t:ty, $v:ident, $to:expr, $from:expr) => {
        impl Element for $t {
            const DTYPE: DType = DType::$v;
            fn wrap(values: Arc<Buffer<Self>>) -> Host {
                Host::$v(values)
            }
            fn unwrap(host: &Host) -> Option<&Arc<Buffer<Self>>> {
                match host {
                    Host::$v(a) => Some(a),
                    _ => None,
                }
            }
            fn unwrap_mut(host: &mut Host) -> Option<&mut Arc<Buffer<Self>>> {
                match host {
                    Host::$v(a) => Some(a),
                    _ => None,
                }
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                $to(self)
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                $from(x)
            }
        }
    };
}
element!(f32, F32, f64::from, |x| x as f32);
element!(f64, F64, |x| x, |x| x);
element!(bf16, Bf16, bf16::to_f64, bf16::from_f64);
element!(f16, F16, f16::to_f64, f16::from_f64);
element!(u32, U32, f64::from, |x| x as u32);

/// Runs `$body` with `$values` standing for the buffer, whatever its type.
macro_rules! with_host {
    ($host:expr, $values:ident => $body:expr) => {
        match $host {
            Host::F32($values) => $body,
            Host::F64($values) => $body,
            Host::Bf16($values) => $body,
            Host::F16($values) => $body,
            Host::U32($values) => $body,
        }
    };
}

impl Host {
    /// See [`Buffer::evict`].
    pub fn evict(&self) {
        with_host!(self, values => values.evict());
    }

    /// The dtype of the values.
    pub fn dtype(&self) -> DType {
        fn of<T: Element>(_: &Buffer<T>) -> DType {
            T::DTYPE
        }
        with_host!(self, values => of(values))
    }

    /// The values as `f64`.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        with_host!(self, values => values.iter().map(|x| Element::to_f64(*x)).collect())
    }

    /// So many zeros.
    pub fn zeros(n: usize, dtype: DType) -> Host {
        match dtype {
            DType::F32 => f32::wrap(Arc::new(Buffer::zeros(n))),
            DType::F64 => f64::wrap(Arc::new(Buffer::zeros(n))),
            DType::Bf16 => bf16::wrap(Arc::new(Buffer::zeros(n))),
            DType::F16 => f16::wrap(Arc::new(Buffer::zeros(n))),
            DType::U32 => u32::wrap(Arc::new(Buffer::zeros(n))),
        }
    }
}
