//! The kernels as CUDA C++, made on a machine without an NVIDIA card.
//!
//! With `CLINPEFT_CUDA_TEXT=FOLDER` the sources are also written, for NVRTC or nvcc to compile.

use crate::client::UNITS;
use crate::ops::{elementwise, matmul, rms_norm};
use cubecl::CubeTask;
use cubecl::prelude::*;
use cubecl::wgpu::{WgpuDevice, WgpuRuntime};
use cubecl_cpp::cuda::{CudaDialect, mma::CudaWmmaCompiler};
use cubecl_cpp::shared::CppCompiler;

type Any = WgpuRuntime;
type Cuda = CppCompiler<CudaDialect<CudaWmmaCompiler>>;

/// The kernel in CUDA C++, with the bytes of shared memory that it uses.
fn lower<K: CubeKernel>(kernel: K) -> (String, usize) {
    let address = kernel.address_type();
    let made = KernelTask::<Cuda, K>::new(kernel)
        .compile(&mut Default::default(), &Default::default(), ExecutionMode::Checked, address)
        .unwrap();
    let shared = made.repr.map_or(0, |r| r.shared_memory_size());
    (made.source, shared)
}

#[test]
fn every_kernel_becomes_cuda_source() {
    let client = Any::client(&WgpuDevice::DefaultDevice);
    let settings = || {
        let cube = CubeDim::new_1d(UNITS);
        KernelSettings::default().cube_dim(cube).address_type(AddressType::U32)
    };
    let a = ArrayCompilationArg { inplace: None };
    let c = || client.clone();
    let a = || a.clone();
    let matrices = || matmul::MatricesCompilationArg { rows: (), columns: (), row_stride: (), column_stride: () };
    let sum = elementwise::sum::Sum::<Any>::new(settings(), c(), a(), a(), a());
    let multiple = elementwise::multiple::Multiple::<Any>::new(settings(), c(), a(), a(), ());
    let forward = rms_norm::forward::Forward::<Any>::new(settings(), c(), a(), a(), a(), a(), (), (), UNITS);
    let backward_x = rms_norm::backward_x::BackwardX::<Any>::new(settings(), c(), a(), a(), a(), a(), a(), (), UNITS);
    let backward_weight =
        rms_norm::backward_weight::BackwardWeight::<Any>::new(settings(), c(), a(), a(), a(), a(), (), 128);
    let add_rows = rms_norm::add_rows::AddRows::<Any>::new(settings(), c(), a(), a(), (), 128);
    let squares = matmul::squares::Squares::<Any>::new(settings(), c(), a(), a(), a(), matrices(), matrices(), ());
    let all = [
        ("add", lower(sum)),
        ("scale", lower(multiple)),
        ("rms_norm", lower(forward)),
        ("rms_norm_backward_x", lower(backward_x)),
        ("rms_norm_backward_weight", lower(backward_weight)),
        ("rms_norm_add_rows", lower(add_rows)),
        ("matmul_squares", lower(squares)),
    ];
    for (name, (source, shared)) in all {
        assert!(source.contains("__global__"), "{name}: {source}");
        assert!(shared <= 48 << 10, "{name} takes {shared} bytes of shared memory");
        if let Some(folder) = std::env::var_os("CLINPEFT_CUDA_TEXT") {
            std::fs::write(std::path::Path::new(&folder).join(format!("{name}.cu")), source).unwrap();
        }
    }
}
