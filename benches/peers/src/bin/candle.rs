//! The step in candle, as its users write it: the forms of its operations that have a backward.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use clinpeft_peers::*;

struct Linear {
    weight: Tensor,
    lora: Option<(Var, Var)>,
}

impl Linear {
    fn frozen(outputs: usize, inputs: usize) -> Result<Linear> {
        Ok(Linear { weight: random(outputs, inputs)?, lora: None })
    }

    fn adapted(outputs: usize, inputs: usize) -> Result<Linear> {
        let a = Var::from_tensor(&random(RANK, inputs)?)?;
        let b = Var::zeros((outputs, RANK), DType::F32, &Device::Cpu)?;
        Ok(Linear { lora: Some((a, b)), ..Linear::frozen(outputs, inputs)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.matmul(&self.weight.t()?)?;
        match &self.lora {
            None => Ok(y),
            Some((a, b)) => y + (x.matmul(&a.t()?)?.matmul(&b.t()?)? * SCALE)?,
        }
    }
}

struct Layer {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    gate: Linear,
    up: Linear,
    down: Linear,
    norms: [Tensor; 2],
}

struct Model {
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Linear,
    angles: (Tensor, Tensor),
    mask: Tensor,
    tokens: Tensor,
    optimizer: AdamW,
}

fn random(rows: usize, columns: usize) -> Result<Tensor> {
    Tensor::randn(0f32, SPREAD as f32, (rows, columns), &Device::Cpu)
}

fn ones() -> Result<Tensor> {
    Tensor::ones(WIDTH, DType::F32, &Device::Cpu)
}

fn layer() -> Result<Layer> {
    Ok(Layer {
        q: Linear::adapted(WIDTH, WIDTH)?,
        k: Linear::frozen(WIDTH, WIDTH)?,
        v: Linear::adapted(WIDTH, WIDTH)?,
        o: Linear::frozen(WIDTH, WIDTH)?,
        gate: Linear::frozen(INNER, WIDTH)?,
        up: Linear::frozen(INNER, WIDTH)?,
        down: Linear::frozen(WIDTH, INNER)?,
        norms: [ones()?, ones()?],
    })
}

impl Model {
    fn new() -> Result<Model> {
        let layers = (0..LAYERS).map(|_| layer()).collect::<Result<Vec<_>>>()?;
        let learnt = layers.iter().flat_map(|l| [&l.q, &l.v]).filter_map(|l| l.lora.clone()).flat_map(|(a, b)| [a, b]);
        let settings = ParamsAdamW { lr: LEARNING_RATE, weight_decay: WEIGHT_DECAY, ..ParamsAdamW::default() };
        let optimizer = AdamW::new(learnt.collect(), settings)?;
        let (cos, sin) = angles();
        let of = |values| Tensor::from_vec(values, (LENGTH, HEAD / 2), &Device::Cpu);
        let later = |at: usize| if at % LENGTH > at / LENGTH { f32::NEG_INFINITY } else { 0.0 };
        let mask = (0..LENGTH * LENGTH).map(later).collect();
        Ok(Model {
            embedding: random(VOCABULARY, WIDTH)?,
            layers,
            norm: ones()?,
            head: Linear::frozen(VOCABULARY, WIDTH)?,
            angles: (of(cos)?, of(sin)?),
            mask: Tensor::from_vec(mask, (1, 1, LENGTH, LENGTH), &Device::Cpu)?,
            tokens: Tensor::from_vec(tokens(), BATCH * LENGTH, &Device::Cpu)?,
            optimizer,
        })
    }

    fn attention(&self, layer: &Layer, x: &Tensor) -> Result<Tensor> {
        let heads = |y: Tensor| y.reshape((BATCH, LENGTH, HEADS, HEAD))?.transpose(1, 2)?.contiguous();
        let turned = |y| candle_nn::rotary_emb::rope_slow(&heads(y)?, &self.angles.0, &self.angles.1);
        let (q, k, v) = (turned(layer.q.forward(x)?)?, turned(layer.k.forward(x)?)?, heads(layer.v.forward(x)?)?);
        let scores = (q.matmul(&k.t()?)? / (HEAD as f64).sqrt())?.broadcast_add(&self.mask)?;
        let y = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
        layer.o.forward(&y.transpose(1, 2)?.contiguous()?.reshape((BATCH * LENGTH, WIDTH))?)
    }

    /// Logits of all tokens.
    fn logits(&self) -> Result<Tensor> {
        let norm = |x: &Tensor, weight: &Tensor| candle_nn::ops::rms_norm_slow(x, weight, EPS as f32);
        let mut x = self.embedding.index_select(&self.tokens, 0)?;
        for layer in &self.layers {
            x = (&x + self.attention(layer, &norm(&x, &layer.norms[0])?)?)?;
            let n = norm(&x, &layer.norms[1])?;
            let inner = (layer.gate.forward(&n)?.silu()? * layer.up.forward(&n)?)?;
            x = (&x + layer.down.forward(&inner)?)?;
        }
        self.head.forward(&norm(&x, &self.norm)?)
    }

    fn step(&mut self) -> Result<f32> {
        let counted = BATCH * (LENGTH - 1);
        let logits = self.logits()?.reshape((BATCH, LENGTH, VOCABULARY))?.narrow(1, 0, LENGTH - 1)?.contiguous()?;
        let next = self.tokens.reshape((BATCH, LENGTH))?.narrow(1, 1, LENGTH - 1)?.contiguous()?.flatten_all()?;
        let loss = candle_nn::loss::cross_entropy(&logits.reshape((counted, VOCABULARY))?, &next)?;
        self.optimizer.backward_step(&loss)?;
        loss.to_scalar()
    }
}

fn main() -> Outcome<()> {
    measure(&mut Model::new()?, |m| Ok(m.step()?), |m| Ok(m.logits().map(drop)?))
}
