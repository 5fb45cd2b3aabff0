//! Tokenisation, truncation, packing, buckets and batches.
