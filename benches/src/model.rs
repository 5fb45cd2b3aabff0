//! Model folders with random weights: written layer by layer, so that the largest needs the memory of one layer.

use clinpeft_llama::Config;
use clinpeft_rng::{Rng, Seed};
use clinpeft_tensor::Tensor;
use clinpeft_weights::TensorMap;
use half::bf16;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Options {
    /// Which shape.
    #[arg(long)]
    size: Size,
    /// In which type the weights are stored.
    #[arg(long, default_value = "f32")]
    stored: Stored,
    /// The folder, made if it does not exist.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Size {
    /// 5 million parameters.
    Tiny,
    /// 134 million.
    Small,
    /// 1.1 billion, four key-value heads.
    #[value(name = "1b")]
    OneBillion,
    /// 6.7 billion.
    #[value(name = "7b")]
    SevenBillion,
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum)]
enum Stored {
    F32,
    Bf16,
}

impl Size {
    fn config(self) -> Config {
        let (d, layers, heads, kv, inner, vocabulary) = match self {
            Size::Tiny => (256, 4, 4, 4, 688, 4096),
            Size::Small => (768, 12, 12, 12, 2048, 32000),
            Size::OneBillion => (2048, 22, 32, 4, 5632, 32000),
            Size::SevenBillion => (4096, 32, 32, 32, 11008, 32000),
        };
        let mut c = Config::tiny(vocabulary, d, layers, heads, 2048);
        c.num_key_value_heads = Some(kv);
        c.intermediate_size = inner;
        c
    }
}

/// Writes the folder; says how many parameters it holds.
pub fn write(options: &Options) -> Result<Value, Box<dyn Error>> {
    let config = options.size.config();
    std::fs::create_dir_all(&options.out)?;
    let (d, kv) = (config.hidden_size, config.kv_heads() * config.head_width());
    let inner = config.intermediate_size;
    let layer = |i: usize| {
        let root = format!("model.layers.{i}");
        let named = |part: &str, dims: Vec<usize>| (format!("{root}.{part}.weight"), dims);
        vec![
            named("self_attn.q_proj", vec![d, d]),
            named("self_attn.k_proj", vec![kv, d]),
            named("self_attn.v_proj", vec![kv, d]),
            named("self_attn.o_proj", vec![d, d]),
            named("mlp.gate_proj", vec![inner, d]),
            named("mlp.up_proj", vec![inner, d]),
            named("mlp.down_proj", vec![d, inner]),
            named("input_layernorm", vec![d]),
            named("post_attention_layernorm", vec![d]),
        ]
    };
    let table = vec![config.vocab_size, d];
    let ends = vec![
        ("model.embed_tokens.weight".to_string(), table.clone()),
        ("lm_head.weight".to_string(), table),
        ("model.norm.weight".to_string(), vec![d]),
    ];
    let shards: Vec<_> = (0..config.num_hidden_layers).map(layer).chain([ends]).collect();
    let (mut places, mut parameters, mut bytes) = (BTreeMap::new(), 0, 0);
    for (i, shard) in shards.iter().enumerate() {
        let file = format!("model-{:05}-of-{:05}.safetensors", i + 1, shards.len());
        let mut tensors = TensorMap::new();
        for (name, dims) in shard {
            let values = random(name, dims, options.stored)?;
            parameters += values.count();
            bytes += values.count() * values.dtype().size();
            places.insert(name.clone(), file.clone());
            tensors.insert(name.clone(), values);
        }
        let meta = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        clinpeft_weights::save(&options.out.join(&file), &tensors, &meta)?;
    }
    let index = json!({ "metadata": { "total_size": bytes }, "weight_map": places });
    clinpeft_files::write_json(&options.out.join("model.safetensors.index.json"), &index)?;
    let mut described = json!(config);
    described["architectures"] = json!(["LlamaForCausalLM"]);
    described["torch_dtype"] = json!(if options.stored == Stored::Bf16 { "bfloat16" } else { "float32" });
    clinpeft_files::write_json(&options.out.join("config.json"), &described)?;
    Ok(json!({ "parameters": parameters, "bytes": bytes }))
}

/// Uniform values with the deviation 0.02 of an untrained model; ones for norms.
fn random(name: &str, dims: &[usize], stored: Stored) -> Result<Tensor, Box<dyn Error>> {
    let n: usize = dims.iter().product();
    let mut rng = Seed(1).stream(name);
    let mut value = || match dims.len() {
        1 => 1.0,
        _ => (rng.next_u32() as f32 / 2f32.powi(31) - 1.0) * 0.02 * 3f32.sqrt(),
    };
    Ok(match stored {
        Stored::F32 => Tensor::from_vec((0..n).map(|_| value()).collect(), dims)?,
        Stored::Bf16 => Tensor::from_vec((0..n).map(|_| bf16::from_f32(value())).collect(), dims)?,
    })
}
