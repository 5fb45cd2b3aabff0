//! Instruction sets of this machine that kernels here are written for.

/// AVX-512 with the instructions for bytes, words and shorter vectors.
pub(super) fn has_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// AVX512_BF16.
pub(super) fn has_avx512_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return has_avx512() && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Whether `vdpbf16ps` does twice the work of an f32 multiply-add, as on AMD. On Intel it does half of it, but there is AMX.
#[cfg(target_arch = "x86_64")]
pub(super) fn has_fast_avx512_bf16() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    has_avx512_bf16() && (vendor.ebx, vendor.edx, vendor.ecx) == (0x6874_7541, 0x6974_6e65, 0x444d_4163)
}
