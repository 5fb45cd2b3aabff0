//! The tensor contract in CubeCL, for CUDA and Vulkan.
