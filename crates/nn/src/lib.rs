//! Layers, losses and the four sites where adapters attach.
