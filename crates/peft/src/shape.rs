//! What adapters need to know of a model before they exist.

use clinpeft_nn::{Backbone, TargetModule};

/// Sizes of a model and its linear layers. Enough to count the parameters of any adapter without making it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelShape {
    /// Width of a hidden row.
    pub width: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_width: usize,
    /// Every linear layer that an adapter may target.
    pub modules: Vec<TargetModule>,
}

impl ModelShape {
    /// The shape of a model.
    pub fn of(backbone: &dyn Backbone) -> ModelShape {
        let attention = backbone.attention_shape();
        ModelShape {
            width: backbone.width(),
            layers: backbone.layers(),
            heads: attention.heads,
            kv_heads: attention.kv_heads,
            head_width: attention.head_width,
            modules: backbone.target_modules(),
        }
    }

    /// Width of all keys, or all values, of a layer.
    pub fn key_width(&self) -> usize {
        self.kv_heads * self.head_width
    }
}
