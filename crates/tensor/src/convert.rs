//! Values in another dtype, and on another device.

use crate::buffer::Buffer;
use crate::element::Host;
use crate::parallel::for_rows;
use crate::tensor::Values;
use crate::{DType, Device, Element, Error, Result, Tensor};
use half::{bf16, f16};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Tensor {
    /// The values as `f64`, whatever the float type; for tests, logs and files.
    pub fn to_f64_vec(&self) -> Result<Vec<f64>> {
        Ok(self.to_cpu()?.values.host("to_f64_vec")?.to_f64_vec())
    }

    /// The single value of a one-element tensor.
    pub fn item(&self) -> Result<f64> {
        match self.to_f64_vec()?[..] {
            [x] => Ok(x),
            _ => Err(Error::Shape { op: "item", what: "one element".into(), shapes: vec![self.shape().clone()] }),
        }
    }

    /// The same values in another dtype (rounded to nearest even where it is narrower).
    pub fn cast(&self, dtype: DType) -> Result<Tensor> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        if let Values::Device { device: Device::Other(backend), .. } = &self.values {
            return Ok(backend.cast(self, dtype)?.with_precision(self.precision()));
        }
        let host = match (self.values.host("cast")?, dtype) {
            (Host::Bf16(a), DType::F32) => f32::wrap(converted(a, bf16::to_f32)),
            (Host::F16(a), DType::F32) => f32::wrap(converted(a, f16::to_f32)),
            (Host::F32(a), DType::Bf16) => bf16::wrap(converted(a, bf16::from_f32)),
            (host, dtype) => {
                let x = host.to_f64_vec();
                match dtype {
                    DType::F32 => f32::wrap(converted(&x, |v| v as f32)),
                    DType::F64 => f64::wrap(Arc::new(x.into())),
                    DType::Bf16 => bf16::wrap(converted(&x, bf16::from_f64)),
                    DType::F16 => f16::wrap(converted(&x, f16::from_f64)),
                    DType::U32 => u32::wrap(converted(&x, |v| v as u32)),
                }
            }
        };
        Ok(Tensor::new(self.shape().clone(), Values::Host(host)).with_precision(self.precision()))
    }

    /// The tensor in f32 if it is stored in 16 bits, otherwise itself.
    pub(crate) fn upcast(&self) -> Result<Cow<'_, Tensor>> {
        match self.dtype() {
            DType::Bf16 | DType::F16 => self.cast(DType::F32).map(Cow::Owned),
            DType::F32 | DType::F64 | DType::U32 => Ok(Cow::Borrowed(self)),
        }
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
            (Values::Host(_), Device::Other(b)) => Ok(b.upload(self)?.with_precision(self.precision())),
            (Values::Device { .. }, Device::Cpu) => Ok(Tensor::all_to_cpu(&[self])?.remove(0)),
            (Values::Device { device: here, .. }, there) if here == there => Ok(self.clone()),
            (_, there) => self.to_cpu()?.to_device(there),
        }
    }
}

fn converted<A: Element, B: Element>(values: &[A], each: impl Fn(A) -> B + Sync) -> Arc<Buffer<B>> {
    let mut out = Buffer::uninit(values.len());
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
    fn cast_to_bf16_rounds_to_nearest_even() {
        let x = Tensor::from_vec(vec![1.0f32 + 1.0 / 256.0, 1.0 + 3.0 / 256.0], &[2]).unwrap();
        assert_eq!(x.cast(DType::Bf16).unwrap().to_f64_vec().unwrap(), vec![1.0, 1.015625]);
    }
}
