//! Safetensors shards and Hugging Face model folders.
