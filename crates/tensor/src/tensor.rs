//! The tensor: shape, values, device.

use crate::buffer::Buffer;
use crate::element::Host;
use crate::gemm::{Packs, Precision, PrepackPolicy};
use crate::parallel::for_rows;
use crate::{DType, Device, Element, Error, Result};
use half::{bf16, f16};
use memmap2::Mmap;
use ndarray::{ArrayViewD, IxDyn};
use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Lengths of the axes, outermost first.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shape(pub Vec<usize>);

impl Shape {
    /// Number of elements.
    pub fn count(&self) -> usize {
        self.0.iter().product()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Row-major values of one dtype on one device. Cloning shares the values.
#[derive(Clone)]
pub struct Tensor {
    shape: Shape,
    values: Values,
    precision: Precision,
    /// Of these values for this precision.
    packs: Option<Arc<Packs>>,
}

#[derive(Clone)]
enum Values {
    Host(Host),
    Device { device: Device, dtype: DType, buffer: Arc<dyn Any + Send + Sync> },
}

impl fmt::Debug for Tensor {
    /// Shape, dtype and device; never the values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?} on {:?})", self.shape, self.dtype(), self.device())
    }
}

impl Tensor {
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
        Ok(Tensor {
            shape,
            values: Values::Host(T::wrap(Arc::new(values))),
            precision: Precision::default(),
            packs: None,
        })
    }

    /// The values at `bytes` of a mapped file, little-endian, without a copy; `None` if they do not lie there as this machine
    /// reads them.
    pub fn from_map<T: Element>(map: Arc<Mmap>, bytes: Range<usize>, dims: &[usize]) -> Option<Tensor> {
        Tensor::from_buffer(Buffer::<T>::from_map(map, bytes)?, dims).ok()
    }

    /// The same values, to be multiplied with this precision where they are the right operand; see [`crate::ops::matmul()`].
    pub fn with_precision(self, precision: Precision) -> Tensor {
        Tensor { precision, packs: None, ..self }
    }

    /// How exact products with it must be; [`Precision::StrictF32`] unless [`Tensor::with_precision`] said otherwise.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The same values, of which products on the CPU may keep packs where they are the right operand: for frozen weights
    /// `[out, in]`. Packs are made at their first use and shared by clones; they change no result. A new precision, other values
    /// or another shape have none.
    pub fn with_prepack(self, packing: PrepackPolicy) -> Tensor {
        let packs = (packing != PrepackPolicy::PerCall).then(Arc::<Packs>::default);
        Tensor { packs, ..self }
    }

    /// What [`Tensor::with_prepack`] asked for.
    pub(crate) fn packs(&self) -> Option<&Packs> {
        self.packs.as_deref()
    }

    /// Gives the pages of a mapped file back, once, when packs are read instead.
    pub(crate) fn release_packed(&self) {
        if let (Some(packs), Values::Host(host)) = (self.packs(), &self.values) {
            packs.when_complete(self.precision, || host.release());
        }
    }

    /// A tensor of zeros on the CPU.
    pub fn zeros(dims: &[usize], dtype: DType) -> Tensor {
        let shape = Shape(dims.to_vec());
        let n = shape.count();
        let host = match dtype {
            DType::F32 => f32::wrap(Arc::new(Buffer::zeros(n))),
            DType::F64 => f64::wrap(Arc::new(Buffer::zeros(n))),
            DType::Bf16 => bf16::wrap(Arc::new(Buffer::zeros(n))),
            DType::F16 => f16::wrap(Arc::new(Buffer::zeros(n))),
            DType::U32 => u32::wrap(Arc::new(Buffer::zeros(n))),
        };
        Tensor { shape, values: Values::Host(host), precision: Precision::default(), packs: None }
    }

    /// A single float of `dtype`, shape `[1]`.
    pub fn scalar(value: f64, dtype: DType) -> Tensor {
        let one = Tensor::from_buffer(vec![value].into(), &[1]).expect("one value for one place");
        one.cast(dtype).expect("a tensor just made on the CPU can be cast")
    }

    /// For backends: a tensor whose values are in `buffer` on `device`.
    pub fn on_device(device: Device, dtype: DType, dims: &[usize], buffer: Arc<dyn Any + Send + Sync>) -> Tensor {
        Tensor {
            shape: Shape(dims.to_vec()),
            values: Values::Device { device, dtype, buffer },
            precision: Precision::default(),
            packs: None,
        }
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
        let wrong =
            || Error::DType { op: "as_slice", expected: format!("{:?} on the CPU", T::DTYPE), got: self.dtype() };
        match &self.values {
            Values::Host(h) => T::unwrap(h).map(|a| &a[..]).ok_or_else(wrong),
            Values::Device { device, .. } => {
                Err(Error::Device { op: "as_slice", left: device.name(), right: "cpu".into() })
            }
        }
    }

    /// The values for writing; shared values are copied first.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T]> {
        let got = self.dtype();
        self.packs = None;
        let wrong = move || Error::DType { op: "as_mut_slice", expected: format!("{:?} on the CPU", T::DTYPE), got };
        match &mut self.values {
            Values::Host(h) => T::unwrap_mut(h).map(|a| &mut Arc::make_mut(a)[..]).ok_or_else(wrong),
            Values::Device { device, .. } => {
                Err(Error::Device { op: "as_mut_slice", left: device.name(), right: "cpu".into() })
            }
        }
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

    /// The values as `f64`, whatever the float type; for tests, logs and files.
    pub fn to_f64_vec(&self) -> Result<Vec<f64>> {
        let on_cpu = self.to_cpu()?;
        match &on_cpu.values {
            Values::Host(Host::F32(a)) => Ok(a.iter().map(|x| f64::from(*x)).collect()),
            Values::Host(Host::F64(a)) => Ok(a.to_vec()),
            Values::Host(Host::Bf16(a)) => Ok(a.iter().map(|x| x.to_f64()).collect()),
            Values::Host(Host::F16(a)) => Ok(a.iter().map(|x| x.to_f64()).collect()),
            Values::Host(Host::U32(a)) => Ok(a.iter().map(|x| f64::from(*x)).collect()),
            Values::Device { device, .. } => {
                Err(Error::Device { op: "to_f64_vec", left: device.name(), right: "cpu".into() })
            }
        }
    }

    /// The single value of a one-element tensor.
    pub fn item(&self) -> Result<f64> {
        match self.to_f64_vec()?[..] {
            [x] => Ok(x),
            _ => Err(Error::Shape { op: "item", what: "one element".into(), shapes: vec![self.shape.clone()] }),
        }
    }

    /// The same values in another dtype (rounded to nearest even where it is narrower).
    pub fn cast(&self, dtype: DType) -> Result<Tensor> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        let shape = self.shape.clone();
        let host = match (&self.values, dtype) {
            (Values::Host(Host::Bf16(a)), DType::F32) => f32::wrap(converted(a, bf16::to_f32)),
            (Values::Host(Host::F16(a)), DType::F32) => f32::wrap(converted(a, f16::to_f32)),
            (Values::Host(Host::F32(a)), DType::Bf16) => bf16::wrap(converted(a, bf16::from_f32)),
            (Values::Host(_), _) => {
                let x = self.to_f64_vec()?;
                match dtype {
                    DType::F32 => f32::wrap(converted(&x, |v| v as f32)),
                    DType::F64 => f64::wrap(Arc::new(x.into())),
                    DType::Bf16 => bf16::wrap(converted(&x, bf16::from_f64)),
                    DType::F16 => f16::wrap(converted(&x, f16::from_f64)),
                    DType::U32 => u32::wrap(converted(&x, |v| v as u32)),
                }
            }
            (Values::Device { device: Device::Other(b), .. }, _) => {
                return Ok(b.cast(self, dtype)?.with_precision(self.precision));
            }
            (Values::Device { device, .. }, _) => {
                return Err(Error::Device { op: "cast", left: device.name(), right: "cpu".into() });
            }
        };
        Ok(Tensor { shape, values: Values::Host(host), precision: self.precision, packs: None })
    }

    /// The tensor in f32 if it is stored in 16 bits, otherwise itself.
    pub(crate) fn widened(&self) -> Result<Cow<'_, Tensor>> {
        match self.dtype() {
            DType::Bf16 | DType::F16 => self.cast(DType::F32).map(Cow::Owned),
            DType::F32 | DType::F64 | DType::U32 => Ok(Cow::Borrowed(self)),
        }
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
        Ok(Tensor { shape, packs: None, ..self.clone() })
    }

    /// The tensor on the CPU; no copy if it is there.
    pub fn to_cpu(&self) -> Result<Tensor> {
        self.to_device(&Device::Cpu)
    }

    /// Tensors on the CPU, in their order. Each device is waited for once, whatever their number.
    pub fn all_to_cpu(tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
        let mut all: Vec<Tensor> = tensors.iter().map(|t| (*t).clone()).collect();
        let mut waiting = BTreeMap::new();
        for (place, tensor) in tensors.iter().enumerate() {
            if let Values::Device { device: Device::Other(backend), .. } = &tensor.values {
                let (_, places) = waiting.entry(backend.name()).or_insert_with(|| (backend, Vec::new()));
                places.push(place);
            }
        }
        for (backend, places) in waiting.into_values() {
            let there: Vec<&Tensor> = places.iter().map(|place| tensors[*place]).collect();
            for (place, here) in places.into_iter().zip(backend.download(&there)?) {
                all[place] = here;
            }
        }
        Ok(all)
    }

    /// The tensor on `device`; no copy if it is there.
    pub fn to_device(&self, device: &Device) -> Result<Tensor> {
        match (&self.values, device) {
            (Values::Host(_), Device::Cpu) => Ok(self.clone()),
            (Values::Host(_), Device::Other(b)) => Ok(b.upload(self)?.with_precision(self.precision)),
            (Values::Device { .. }, Device::Cpu) => Ok(Tensor::all_to_cpu(&[self])?.remove(0)),
            (Values::Device { device: here, .. }, there) if here == there => Ok(self.clone()),
            (_, there) => self.to_cpu()?.to_device(there),
        }
    }
}

fn converted<A: Element, B: Element>(values: &[A], each: impl Fn(A) -> B + Sync) -> Arc<Buffer<B>> {
    let mut out = Buffer::stale(values.len());
    for_rows(
        &mut out,
        1,
        #[inline(always)]
        |first, out| {
            for (to, from) in out.iter_mut().zip(&values[first..]) {
                *to = each(*from);
            }
        },
    );
    Arc::new(out)
}

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
    fn cast_to_bf16_rounds_to_nearest_even() {
        let x = Tensor::from_vec(vec![1.0f32 + 1.0 / 256.0, 1.0 + 3.0 / 256.0], &[2]).unwrap();
        assert_eq!(x.cast(DType::Bf16).unwrap().to_f64_vec().unwrap(), vec![1.0, 1.015625]);
    }

    #[test]
    fn debug_prints_no_values() {
        let t = Tensor::from_vec(vec![42.0f32], &[1]).unwrap();
        assert_eq!(format!("{t:?}"), "Tensor([1] F32 on cpu)");
    }
}
