//! Pieces that the two generators of text share.
