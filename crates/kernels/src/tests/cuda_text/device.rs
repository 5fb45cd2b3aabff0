//! A CUDA device on paper: it has the properties of a card, turns every kernel into CUDA C++ as CubeCL does on one, keeps the
//! text and computes nothing. What is read from it is zeros.

use cubecl::bytes::Bytes;
use cubecl::device::{Device, DeviceId, DeviceService, ServerUtilitiesHandle};
use cubecl::features::Plane;
use cubecl::future::DynFut;
use cubecl::ir::{
    ContiguousElements, DeviceProperties, ElemType, FloatKind, HardwareProperties, MatrixLayout,
    MemoryDeviceProperties, MmaProperties, TargetProperties, VectorSize,
};
use cubecl::prelude::*;
use cubecl::profile::{ProfileDuration, TimingMethod};
use cubecl::server::{
    Binding, ComputeServer, CopyDescriptor, KernelArguments, ProfileError, ProfilingToken, ServerCommunication,
    ServerError, ServerUtilities,
};
use cubecl::stream_id::StreamId;
use cubecl::zspace::{Shape, Strides, striding::has_pitched_row_major_strides};
use cubecl::{CubeTask, MemoryAllocationMode, MemoryUsage};
use cubecl_cpp::DialectWmmaCompiler;
use cubecl_cpp::cuda::CudaDialect;
use cubecl_cpp::cuda::arch::CudaArchitecture;
use cubecl_cpp::cuda::mma::{CudaWmmaCompiler, contiguous_elements_cuda};
use cubecl_cpp::shared::{
    CompilationOptions, CppCompiler, register_mma_features, register_supported_types, register_wmma_features,
};
use cubecl_runtime::allocator::PitchedMemoryLayoutPolicy;
use cubecl_runtime::logging::ServerLogger;
use cubecl_runtime::memory_management::ManagedMemoryHandle;
use cubecl_runtime::storage::{BytesStorage, ComputeStorage, ManagedResource};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

type Compiler = CppCompiler<CudaDialect<CudaWmmaCompiler>>;

/// A kernel as text.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub source: String,
    /// Bytes of shared memory.
    pub shared: usize,
}

/// What was compiled, by compute capability and kernel.
static TEXTS: Mutex<BTreeMap<(u16, String), Result<Text, String>>> = Mutex::new(BTreeMap::new());

/// Launches so far, by compute capability.
static LAUNCHES: Mutex<BTreeMap<u16, usize>> = Mutex::new(BTreeMap::new());

/// How many kernels were launched so far on the device of this compute capability.
pub(super) fn launches(capability: u16) -> usize {
    LAUNCHES.lock().unwrap_or_else(PoisonError::into_inner).get(&capability).copied().unwrap_or_default()
}

/// Every kernel that was launched on the device of this compute capability, by a name of its own.
pub(super) fn texts(capability: u16) -> BTreeMap<String, Result<Text, String>> {
    let all = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().filter(|((c, _), _)| *c == capability).map(|((_, name), text)| (name.clone(), text.clone())).collect()
}

/// A card of some compute capability, 80 or 90.
#[derive(Debug, Clone, Hash, PartialEq, Eq, Default)]
pub(super) struct Card {
    pub capability: u16,
}

impl Device for Card {
    fn from_id(id: DeviceId) -> Self {
        Card { capability: id.index_id }
    }

    fn to_id(&self) -> DeviceId {
        // A type of its own, so that no other runtime's thread is meant.
        DeviceId { type_id: 77, index_id: self.capability }
    }
}

#[derive(Debug, Clone)]
pub(super) struct OnPaper;

#[derive(Debug)]
pub(super) struct Server {
    capability: u16,
    utilities: Arc<ServerUtilities<Server>>,
}

impl DeviceService for Server {
    fn init(id: DeviceId) -> Self {
        let properties = properties(u32::from(id.index_id));
        let policy = PitchedMemoryLayoutPolicy::new(properties.memory.alignment as usize);
        let logger = Arc::new(ServerLogger::default());
        Server { capability: id.index_id, utilities: Arc::new(ServerUtilities::new(properties, logger, (), policy)) }
    }

    fn utilities(&self) -> ServerUtilitiesHandle {
        self.utilities.clone()
    }
}

/// Those of an A100 (80) or an H100 (90), as far as kernels are chosen by them.
fn properties(capability: u32) -> DeviceProperties {
    let hardware = HardwareProperties {
        load_width: 128,
        plane_size_min: 32,
        plane_size_max: 32,
        max_bindings: 1024,
        max_shared_memory_size: if capability >= 90 { 232_448 } else { 166_912 },
        max_cube_count: (i32::MAX as u32, 65_535, 65_535),
        max_units_per_cube: 1024,
        max_cube_dim: (1024, 1024, 64),
        num_streaming_multiprocessors: Some(if capability >= 90 { 132 } else { 108 }),
        num_tensor_cores: Some(4),
        min_tensor_cores_dim: Some(8),
        num_cpu_cores: None,
        max_vector_size: VectorSize::MAX,
    };
    let memory = MemoryDeviceProperties { max_page_size: 20 << 30, alignment: 512 };
    let mut all = DeviceProperties::new(Default::default(), memory, hardware, TimingMethod::System);
    register_supported_types(&mut all);
    for kind in [FloatKind::F16, FloatKind::BF16] {
        all.features.matmul.ldmatrix.insert(ElemType::Float(kind).into());
    }
    all.features.plane.insert(Plane::Ops);
    all.features.plane.insert(Plane::Sync);
    let arch = CudaArchitecture { version: capability };
    register_wmma_features(CudaWmmaCompiler::supported_wmma_combinations(&arch), &mut all);
    register_mma_features(CudaWmmaCompiler::supported_mma_combinations(&arch), &mut all);
    all
}

impl ServerCommunication for Server {
    const SERVER_COMM_ENABLED: bool = false;
}

impl ComputeServer for Server {
    type Kernel = Box<dyn CubeTask<Compiler>>;
    type Storage = BytesStorage;
    type MemoryLayoutPolicy = PitchedMemoryLayoutPolicy;
    type Info = ();

    fn logger(&self) -> Arc<ServerLogger> {
        self.utilities.logger.clone()
    }

    fn utilities(&self) -> Arc<ServerUtilities<Self>> {
        self.utilities.clone()
    }

    fn initialize_memory(&mut self, _memory: ManagedMemoryHandle, _size: u64, _stream: StreamId) {}

    fn read(&mut self, all: Vec<CopyDescriptor>, _stream: StreamId) -> DynFut<Result<Vec<Bytes>, ServerError>> {
        let zeros = |d: CopyDescriptor| Bytes::from_bytes_vec(vec![0; d.handle.size_in_used() as usize]);
        let all = all.into_iter().map(zeros).collect();
        Box::pin(async move { Ok(all) })
    }

    fn write(&mut self, _all: Vec<(CopyDescriptor, Bytes)>, _stream: StreamId) {}

    fn sync(&mut self, _stream: StreamId) -> DynFut<Result<(), ServerError>> {
        Box::pin(async move { Ok(()) })
    }

    fn get_resource(
        &mut self,
        _binding: Binding,
        _stream: StreamId,
    ) -> Result<ManagedResource<<BytesStorage as ComputeStorage>::Resource>, ServerError> {
        unreachable!("nothing is stored on paper")
    }

    #[expect(unsafe_code, reason = "the trait has it so; nothing is run")]
    unsafe fn launch(
        &mut self,
        kernel: Self::Kernel,
        _count: CubeCount,
        _arguments: KernelArguments,
        mode: ExecutionMode,
        _stream: StreamId,
    ) {
        *LAUNCHES.lock().unwrap_or_else(PoisonError::into_inner).entry(self.capability).or_default() += 1;
        let mut options = CompilationOptions::default();
        options.supports_features.grid_constants = true;
        options.supports_features.fast_math = true;
        options.supports_features.clusters = self.capability >= 90;
        let id = format!("{:?}", kernel.id());
        let mut all = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((self.capability, id)).or_insert_with(|| {
            let made = kernel.compile(&mut Default::default(), &options, mode, kernel.address_type());
            let made = made.map_err(|e| format!("{e:?}"))?;
            let shared = made.repr.map_or(0, |r| r.shared_memory_size());
            Ok(Text { source: made.source, shared })
        });
    }

    fn flush(&mut self, _stream: StreamId) -> Result<(), ServerError> {
        Ok(())
    }

    fn memory_usage(&mut self, _stream: StreamId) -> Result<MemoryUsage, ServerError> {
        Ok(MemoryUsage { number_allocs: 0, bytes_in_use: 0, bytes_padding: 0, bytes_reserved: 0 })
    }

    fn memory_cleanup(&mut self, _stream: StreamId) {}

    fn start_profile(&mut self, _stream: StreamId) -> Result<ProfilingToken, ServerError> {
        unreachable!("nothing takes time on paper")
    }

    fn end_profile(&mut self, _stream: StreamId, _token: ProfilingToken) -> Result<ProfileDuration, ProfileError> {
        unreachable!("nothing takes time on paper")
    }

    fn allocation_mode(&mut self, _mode: MemoryAllocationMode, _stream: StreamId) {}
}

impl Runtime for OnPaper {
    type Compiler = Compiler;
    type Server = Server;
    type Device = Card;

    fn client(device: &Card) -> ComputeClient<Self> {
        ComputeClient::load(device)
    }

    fn name(_client: &ComputeClient<Self>) -> &'static str {
        "cuda"
    }

    fn require_array_lengths() -> bool {
        true
    }

    fn max_cube_count() -> (u32, u32, u32) {
        (i32::MAX as u32, 65_535, 65_535)
    }

    fn can_read_tensor(shape: &Shape, strides: &Strides) -> bool {
        has_pitched_row_major_strides(shape, strides)
    }

    fn target_properties() -> TargetProperties {
        TargetProperties {
            mma: MmaProperties {
                register_size_bits: 32,
                const_plane_size: 32,
                register_layout_a: MatrixLayout::RowMajor,
                register_layout_b: MatrixLayout::ColMajor,
                register_layout_acc: MatrixLayout::RowMajor,
                register_duplication_a: 1,
                register_duplication_b: 1,
                register_duplication_acc: 1,
                contiguous_elements: ContiguousElements::new(contiguous_elements_cuda),
            },
        }
    }

    fn enumerate_devices(_kind: u16, _info: &()) -> Vec<DeviceId> {
        vec![Card { capability: 80 }.to_id(), Card { capability: 90 }.to_id()]
    }
}
