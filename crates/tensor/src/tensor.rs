//! The tensor, where it lives, and who computes there.

use crate::buffer::Buffer;
use crate::element::Host;
use crate::gemm::{Precision, PrepackPolicy, PrepackedWeight, backend};
use crate::params::{AdamW, AttentionShape, CuSeqlens, Direction, Layout};
use crate::{DType, Element, Error, Result, Shape, for_each_op};
use clinpeft_rng::Key;
use memmap2::Mmap;
use ndarray::{ArrayViewD, IxDyn};
use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Where a tensor lives.
#[derive(Clone, Default)]
pub enum Device {
    /// Main memory, computed by this crate.
    #[default]
    Cpu,
    /// Another backend.
    Other(Arc<dyn Backend>),
}

impl Device {
    /// Its name, for example `cpu` or `vulkan:0`.
    pub fn name(&self) -> String {
        match self {
            Device::Cpu => "cpu".into(),
            Device::Other(b) => b.name(),
        }
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Row-major values of one dtype on one device. Cloning shares the values.
#[derive(Clone)]
pub struct Tensor {
    shape: Shape,
    pub(crate) values: Values,
    precision: Precision,
    /// Of these values for this precision.
    prepacked: Option<Arc<PrepackedWeight>>,
}

#[derive(Clone)]
/// Where the values are.
pub(crate) enum Values {
    Host(Host),
    Device { device: Device, dtype: DType, buffer: Arc<dyn Any + Send + Sync> },
}

impl Values {
    /// The values on the CPU. Errors if they are on a device.
    pub(crate) fn host(&self, op: &'static str) -> Result<&Host> {
        match self {
            Values::Host(host) => Ok(host),
            Values::Device { device, .. } => Err(Error::Device { op, left: device.name(), right: "cpu".into() }),
        }
    }
}

fn not_of<T: Element>(op: &'static str, got: DType) -> Error {
    Error::DType { op, expected: format!("{:?} on the CPU", T::DTYPE), got }
}

impl fmt::Debug for Tensor {
    /// Shape, dtype and device; never the values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?} on {:?})", self.shape, self.dtype(), self.device())
    }
}

impl Tensor {
    /// As many values as the shape has elements.
    pub(crate) fn new(shape: Shape, values: Values) -> Tensor {
        Tensor { shape, values, precision: Precision::default(), prepacked: None }
    }

    /// A CPU tensor from values in row-major order. Errors if their number does not fit the shape.
    pub fn from_vec<T: Element>(values: Vec<T>, dims: &[usize]) -> Result<Tensor> {
        Tensor::from_buffer(values.into(), dims)
    }

    /// The same from a buffer.
    pub fn from_buffer<T: Element>(values: Buffer<T>, dims: &[usize]) -> Result<Tensor> {
        let shape = Shape(dims.to_vec());
        if values.len() != shape.count() {
            return Err(Error::Shape {
                op: "from_buffer",
                what: format!("{} values for {} places", values.len(), shape.count()),
                shapes: vec![shape],
            });
        }
        Ok(Tensor::new(shape, Values::Host(T::wrap(Arc::new(values)))))
    }

    /// The values at `bytes` of a mapped file, little-endian, without a copy; `None` if they do not lie there as this machine
    /// reads them.
    pub fn from_map<T: Element>(map: Arc<Mmap>, bytes: Range<usize>, dims: &[usize]) -> Option<Tensor> {
        Tensor::from_buffer(Buffer::<T>::from_map(map, bytes)?, dims).ok()
    }

    /// The same values, to be multiplied with this precision where they are the right operand; see [`crate::ops::matmul()`].
    pub fn with_precision(self, precision: Precision) -> Tensor {
        Tensor { precision, prepacked: None, ..self }
    }

    /// How exact products with it must be; [`Precision::StrictF32`] unless [`Tensor::with_precision`] said otherwise.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The same values, whose packs products on the CPU may cache where they are the right operand: for frozen weights
    /// `[out, in]`. Packs are made at their first use and shared by clones; they change no result. A new precision, other values
    /// or another shape have none.
    pub fn with_prepack(self, policy: PrepackPolicy) -> Tensor {
        let prepacked = (policy != PrepackPolicy::PerCall).then(Arc::<PrepackedWeight>::default);
        Tensor { prepacked, ..self }
    }

    /// What [`Tensor::with_prepack`] asked for.
    pub(crate) fn prepacked(&self) -> Option<&PrepackedWeight> {
        self.prepacked.as_deref()
    }

    /// Evicts the pages of a mapped file, once, when cached packs are read instead.
    pub(crate) fn evict_packed(&self) {
        if let (Some(packs), Values::Host(host)) = (self.prepacked(), &self.values)
            && backend(self.precision).reads_transposed_packs()
            && packs.forward.elements().is_some()
        {
            packs.complete.get_or_init(|| host.evict());
        }
    }

    /// A tensor of zeros on the CPU.
    pub fn zeros(dims: &[usize], dtype: DType) -> Tensor {
        let shape = Shape(dims.to_vec());
        let n = shape.count();
        let host = Host::zeros(n, dtype);
        Tensor::new(shape, Values::Host(host))
    }

    /// A single float of `dtype`, shape `[1]`.
    pub fn scalar(value: f64, dtype: DType) -> Tensor {
        let one = Tensor::from_buffer(vec![value].into(), &[1]).expect("one value for one place");
        one.cast(dtype).expect("a tensor just made on the CPU can be cast")
    }

    /// For backends: a tensor whose values are in `buffer` on `device`.
    pub fn on_device(device: Device, dtype: DType, dims: &[usize], buffer: Arc<dyn Any + Send + Sync>) -> Tensor {
        Tensor::new(Shape(dims.to_vec()), Values::Device { device, dtype, buffer })
    }

    /// For backends: the buffer that was given to [`Tensor::on_device`].
    pub fn buffer<B: Any + Send + Sync>(&self) -> Option<&B> {
        match &self.values {
            Values::Device { buffer, .. } => buffer.downcast_ref(),
            Values::Host(_) => None,
        }
    }

    /// Lengths of the axes.
    pub fn dims(&self) -> &[usize] {
        &self.shape.0
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        self.shape.count()
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        match &self.values {
            Values::Host(h) => h.dtype(),
            Values::Device { dtype, .. } => *dtype,
        }
    }

    /// Where the values are.
    pub fn device(&self) -> Device {
        match &self.values {
            Values::Host(_) => Device::Cpu,
            Values::Device { device, .. } => device.clone(),
        }
    }

    /// (product of all axes but the last, last axis); a scalar counts as one row of one.
    pub fn rows_and_width(&self) -> (usize, usize) {
        match self.dims() {
            [] => (1, 1),
            [rest @ .., last] => (rest.iter().product(), *last),
        }
    }

    /// The values in row-major order. Errors if they are of another type or not on the CPU.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        let values = T::unwrap(self.values.host("as_slice")?).map(|a| &a[..]);
        values.ok_or_else(|| not_of::<T>("as_slice", self.dtype()))
    }

    /// The values for writing; shared values are copied first.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T]> {
        self.values.host("as_mut_slice")?;
        let got = self.dtype();
        self.prepacked = None;
        let values = match &mut self.values {
            Values::Host(host) => T::unwrap_mut(host).map(|a| &mut Arc::make_mut(a)[..]),
            Values::Device { .. } => None,
        };
        values.ok_or_else(|| not_of::<T>("as_mut_slice", got))
    }

    /// The values as an `ndarray` view.
    pub fn view<T: Element>(&self) -> Result<ArrayViewD<'_, T>> {
        let slice = self.as_slice::<T>()?;
        ArrayViewD::from_shape(IxDyn(self.dims()), slice).map_err(|e| Error::Shape {
            op: "view",
            what: e.to_string(),
            shapes: vec![self.shape.clone()],
        })
    }

    /// The same values under another shape with as many places. Shares the values.
    pub fn reshape(&self, dims: &[usize]) -> Result<Tensor> {
        let shape = Shape(dims.to_vec());
        if shape.count() != self.count() {
            return Err(Error::Shape {
                op: "reshape",
                what: "as many places".into(),
                shapes: vec![self.shape.clone(), shape],
            });
        }
        Ok(Tensor { shape, prepacked: None, ..self.clone() })
    }
}

/// A parameter with its moments and its gradient, all of one shape.
#[derive(Debug)]
pub struct AdamWParam<'a> {
    /// p
    pub parameter: &'a mut Tensor,
    /// m
    pub first: &'a mut Tensor,
    /// v
    pub second: &'a mut Tensor,
    /// g
    pub gradient: &'a Tensor,
}

/// How gradients are clipped: the norm lies where they do, so that nobody has to wait for it.
#[derive(Debug, Clone, Copy)]
pub struct Clip<'a> {
    /// Euclidean norm of the whole gradient, `[1]`.
    pub norm: &'a Tensor,
    /// Largest norm; larger ones are scaled down to it.
    pub limit: f64,
}

macro_rules! backend {
    (differentiable { $($op:ident { $($methods:tt)* })* } in_place { $($other:ident { $($more:tt)* })* }) => {
        backend! { @methods $($($methods)*)* $($($more)*)* }
    };
    (@methods $(fn $name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {
        /// What a device must be able to do. One method per operation, named like its file in [`crate::ops`],
        /// where formulas and shapes are stated and checked; a backend may rely on those checks.
        ///
        /// An operation that a backend leaves out is an error when it is called, never a silent copy to the CPU.
        pub trait Backend: Send + Sync {
            /// Name with its index, for example `vulkan:0`.
            fn name(&self) -> String;
            /// Bytes of the device that were set aside for tensors so far, where it tells.
            fn memory(&self) -> Result<Option<u64>> {
                Ok(None)
            }
            /// Copies a CPU tensor to the device.
            fn upload(&self, tensor: &Tensor) -> Result<Tensor>;
            /// The same floats in another dtype of 32 or 16 bits; see [`Tensor::cast`].
            fn cast(&self, tensor: &Tensor, dtype: DType) -> Result<Tensor>;
            /// Copies tensors of this device to the CPU. Waits once, for all work before.
            fn download(&self, tensors: &[&Tensor]) -> Result<Vec<Tensor>>;
            /// How often something was copied to the CPU so far, where it is counted; without what is measured once for a
            /// choice.
            fn downloads(&self) -> u64 {
                0
            }
            $(
                #[doc = concat!("See [`crate::ops::", stringify!($name), "()`].")]
                fn $name(&self $(, $arg: $ty)*) -> Result<$out> {
                    $(let _ = $arg;)*
                    Err(Error::Unsupported { op: stringify!($name), device: self.name() })
                }
            )*
        }
    };
}
for_each_op!(backend);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_count_is_an_error() {
        assert!(Tensor::from_vec(vec![1.0f32; 5], &[2, 3]).is_err());
    }

    #[test]
    fn writing_does_not_change_a_clone() {
        let a = Tensor::from_vec(vec![1.0f32, 2.0], &[2]).unwrap();
        let mut b = a.clone();
        b.as_mut_slice::<f32>().unwrap()[0] = 9.0;
        assert_eq!(a.as_slice::<f32>().unwrap()[0], 1.0);
    }

    #[test]
    fn debug_prints_no_values() {
        let t = Tensor::from_vec(vec![42.0f32], &[1]).unwrap();
        assert_eq!(format!("{t:?}"), "Tensor([1] F32 on cpu)");
    }
}
