//! The LLaMA family with causal and sequence-classification heads.
