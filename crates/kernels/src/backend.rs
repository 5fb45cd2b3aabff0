//! The contract of `clinpeft-tensor`, operation by operation. What is not listed is an `Unsupported` error.

use crate::client::Client;
use crate::ops;
use clinpeft_tensor::ops::Layout;
use clinpeft_tensor::{Backend, Result, Tensor};
use cubecl::Runtime;

impl<R: Runtime> Backend for Client<R> {
    fn name(&self) -> String {
        Client::name(self)
    }

    fn upload(&self, tensor: &Tensor) -> Result<Tensor> {
        Client::upload(self, tensor)
    }

    fn download(&self, tensor: &Tensor) -> Result<Tensor> {
        Client::download(self, tensor)
    }

    fn matmul(&self, a: &Tensor, b: &Tensor, layout: Layout) -> Result<Tensor> {
        ops::matmul::matmul(self, a, b, layout)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
        ops::rms_norm::rms_norm(self, x, weight, eps)
    }

    fn rms_norm_backward(&self, g: &Tensor, x: &Tensor, weight: &Tensor, inv_rms: &Tensor) -> Result<(Tensor, Tensor)> {
        ops::rms_norm::rms_norm_backward(self, g, x, weight, inv_rms)
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        ops::elementwise::add(self, a, b)
    }

    fn mul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        ops::elementwise::mul(self, a, b)
    }

    fn scale(&self, x: &Tensor, factor: f64) -> Result<Tensor> {
        ops::elementwise::scale(self, x, factor)
    }
}
