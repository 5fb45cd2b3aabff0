//! Tests of what lies inside the crate: on a Vulkan device, and on a CUDA device that exists on paper.

#[cfg(feature = "cuda")]
mod cuda_text;
#[cfg(feature = "vulkan")]
mod failures;

use crate::*;

#[test]
fn every_kind_is_listed_found_or_with_a_hint() {
    let all = devices();
    for word in ["cuda", "vulkan"] {
        let of_kind: Vec<_> = all.iter().filter(|l| l.name.starts_with(word)).collect();
        assert!(!of_kind.is_empty());
        for listing in of_kind {
            let hinted = listing.state.to_string().contains("\nhint: ");
            assert_eq!(matches!(listing.state, State::Missing(_)), hinted, "{listing:?}");
        }
    }
}

#[test]
fn cpu_needs_no_feature() {
    assert_eq!(open("cpu").unwrap(), Device::Cpu);
}

#[cfg(not(feature = "vulkan"))]
#[test]
fn a_build_without_vulkan_says_so() {
    let said = open("vulkan").unwrap_err().to_string();
    assert!(said.contains("without Vulkan") && said.contains("\nhint: "), "{said}");
}
