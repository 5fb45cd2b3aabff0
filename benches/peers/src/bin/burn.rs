//! The step in burn, on its fastest backend for a CPU. Its optimizer takes modules; here tensors are updated by the same formula.

use burn::tensor::{Bool, Device, Distribution, Int, Tensor, TensorData, activation};
use clinpeft_peers::*;

/// A matrix that learns, with its moments.
struct Learnt {
    value: Tensor<2>,
    moments: Option<[Tensor<2>; 2]>,
}

impl Learnt {
    fn update(&mut self, gradient: Tensor<2>, step: i32) {
        let (beta1, beta2) = (0.9, 0.999);
        let square = gradient.clone() * gradient.clone();
        let [first, second] = match self.moments.take() {
            None => [gradient * (1.0 - beta1), square * (1.0 - beta2)],
            Some([m, v]) => [m * beta1 + gradient * (1.0 - beta1), v * beta2 + square * (1.0 - beta2)],
        };
        let root = (second.clone() / (1.0 - f64::powi(beta2, step))).sqrt();
        let change = first.clone() / (1.0 - f64::powi(beta1, step)) / (root + 1e-8);
        let value = self.value.clone().inner() * (1.0 - LEARNING_RATE * WEIGHT_DECAY) - change * LEARNING_RATE;
        self.moments = Some([first, second]);
        self.value = Tensor::from_inner(value).require_grad();
    }
}

struct Linear {
    /// As burn stores it: a column for each output.
    weight: Tensor<2>,
    lora: Option<[Learnt; 2]>,
}

impl Linear {
    fn frozen(inputs: usize, outputs: usize, device: &Device) -> Linear {
        Linear { weight: random([inputs, outputs], device), lora: None }
    }

    fn adapted(inputs: usize, outputs: usize, device: &Device) -> Linear {
        let learnt = |value: Tensor<2>| Learnt { value: value.require_grad(), moments: None };
        let lora = [random([inputs, RANK], device), Tensor::zeros([RANK, outputs], device)].map(learnt);
        Linear { lora: Some(lora), ..Linear::frozen(inputs, outputs, device) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let y = x.clone().matmul(self.weight.clone());
        match &self.lora {
            None => y,
            Some([a, b]) => y + x.matmul(a.value.clone()).matmul(b.value.clone()).mul_scalar(SCALE),
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
    norms: [Tensor<1>; 2],
}

struct Model {
    embedding: Tensor<2>,
    layers: Vec<Layer>,
    norm: Tensor<1>,
    head: Linear,
    angles: [Tensor<4>; 2],
    mask: Tensor<4, Bool>,
    tokens: Tensor<1, Int>,
    steps: i32,
}

fn random(dims: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(dims, Distribution::Normal(0.0, SPREAD), device)
}

fn normed(x: Tensor<2>, weight: &Tensor<1>) -> Tensor<2> {
    let root = x.clone().powf_scalar(2.0).mean_dim(1).add_scalar(EPS).sqrt();
    x / root * weight.clone().unsqueeze::<2>()
}

impl Model {
    fn new(device: &Device) -> Model {
        let layer = |_| Layer {
            q: Linear::adapted(WIDTH, WIDTH, device),
            k: Linear::frozen(WIDTH, WIDTH, device),
            v: Linear::adapted(WIDTH, WIDTH, device),
            o: Linear::frozen(WIDTH, WIDTH, device),
            gate: Linear::frozen(WIDTH, INNER, device),
            up: Linear::frozen(WIDTH, INNER, device),
            down: Linear::frozen(INNER, WIDTH, device),
            norms: [Tensor::ones([WIDTH], device), Tensor::ones([WIDTH], device)],
        };
        let (cos, sin) = angles();
        // Both halves of a head turn by the same angles.
        let twice = |values: Vec<f32>| {
            let half = Tensor::<2>::from_data(TensorData::new(values, [LENGTH, HEAD / 2]), device);
            Tensor::cat(vec![half.clone(), half], 1).unsqueeze::<4>()
        };
        let later = (0..LENGTH * LENGTH).map(|at| at % LENGTH > at / LENGTH).collect::<Vec<bool>>();
        let mask: Tensor<2, Bool> = Tensor::from_data(TensorData::new(later, [LENGTH, LENGTH]), device);
        let tokens = tokens().into_iter().map(|t| t as i32).collect::<Vec<_>>();
        Model {
            embedding: random([VOCABULARY, WIDTH], device),
            layers: (0..LAYERS).map(layer).collect(),
            norm: Tensor::ones([WIDTH], device),
            head: Linear::frozen(WIDTH, VOCABULARY, device),
            angles: [twice(cos), twice(sin)],
            mask: mask.unsqueeze::<4>().expand([BATCH, HEADS, LENGTH, LENGTH]),
            tokens: Tensor::from_data(TensorData::new(tokens, [BATCH * LENGTH]), device),
            steps: 0,
        }
    }

    fn turned(&self, x: Tensor<4>) -> Tensor<4> {
        let (left, right) = (x.clone().narrow(3, 0, HEAD / 2), x.clone().narrow(3, HEAD / 2, HEAD / 2));
        let [cos, sin] = &self.angles;
        x * cos.clone() + Tensor::cat(vec![right.neg(), left], 3) * sin.clone()
    }

    fn attention(&self, layer: &Layer, x: Tensor<2>) -> Tensor<2> {
        let heads = |y: Tensor<2>| y.reshape([BATCH, LENGTH, HEADS, HEAD]).swap_dims(1, 2);
        let q = self.turned(heads(layer.q.forward(x.clone())));
        let k = self.turned(heads(layer.k.forward(x.clone())));
        let v = heads(layer.v.forward(x));
        let scores = q.matmul(k.swap_dims(2, 3)).div_scalar((HEAD as f64).sqrt());
        let shares = activation::softmax(scores.mask_fill(self.mask.clone(), f32::NEG_INFINITY), 3);
        layer.o.forward(shares.matmul(v).swap_dims(1, 2).reshape([BATCH * LENGTH, WIDTH]))
    }

    /// Logits of all tokens.
    fn logits(&self) -> Tensor<2> {
        let mut x = self.embedding.clone().select(0, self.tokens.clone());
        for layer in &self.layers {
            x = x.clone() + self.attention(layer, normed(x, &layer.norms[0]));
            let n = normed(x.clone(), &layer.norms[1]);
            let inner = activation::silu(layer.gate.forward(n.clone())) * layer.up.forward(n);
            x = x + layer.down.forward(inner);
        }
        self.head.forward(normed(x, &self.norm))
    }

    fn step(&mut self) -> Outcome<f32> {
        let counted = BATCH * (LENGTH - 1);
        let logits = self.logits().reshape([BATCH, LENGTH, VOCABULARY]).narrow(1, 0, LENGTH - 1);
        let next = self.tokens.clone().reshape([BATCH, LENGTH]).narrow(1, 1, LENGTH - 1).reshape([counted, 1]);
        let likely = activation::log_softmax(logits.reshape([counted, VOCABULARY]), 1).gather(1, next);
        let loss = likely.mean().neg();
        let value = loss.clone().into_scalar::<f32>();
        let mut gradients = loss.backward();
        self.steps += 1;
        let adapted = self.layers.iter_mut().flat_map(|l| [&mut l.q, &mut l.v]);
        for learnt in adapted.filter_map(|l| l.lora.as_mut()).flatten() {
            let gradient = learnt.value.grad_remove(&mut gradients).ok_or("a matrix without a gradient")?;
            learnt.update(gradient, self.steps);
        }
        Ok(value)
    }

    /// Reads one value, since work may be put off until then.
    fn evaluate(&self) {
        let _ = self.logits().slice([0..1, 0..1]).into_scalar::<f32>();
    }
}

fn main() -> Outcome<()> {
    let device = Device::flex().autodiff();
    measure(&mut Model::new(&device), Model::step, |m| {
        m.evaluate();
        Ok(())
    })
}
