use super::*;
use crate::StepParam;
use clinpeft_autodiff::backward;
use clinpeft_nn::Linear;

fn config() -> AdaLoraConfig {
    AdaLoraConfig {
        initial_r: 4,
        target_r: 2,
        alpha: 8.0,
        dropout: 0.0,
        targets: vec!["q_proj".into(), "v_proj".into()],
        first_steps: 2,
        last_steps: 3,
        every: 1,
        beta1: 0.85,
        beta2: 0.85,
        orthogonality: 0.5,
    }
}

fn modules() -> Vec<TargetModule> {
    ["l.q_proj", "l.v_proj"].map(|n| TargetModule { name: n.into(), input: 5, output: 6 }).to_vec()
}

fn adapter() -> AdaLora {
    AdaLora::new(config(), &modules(), Seed(3), Trainability::Trainable).unwrap()
}

/// Gradients that make each rank matter more than the one before it.
fn values(a: &AdaLora) -> StepValues {
    let one = |p: &Parameter| {
        let n = p.value().count();
        let values = (0..n).map(|i| (i + 1) as f32 * 0.01).collect();
        let gradient = Tensor::from_vec(values, p.value().dims()).unwrap();
        (p.name().to_string(), StepParam { value: p.value().clone(), gradient })
    };
    a.parameters().into_iter().map(one).collect()
}

fn train(a: &mut AdaLora, steps: std::ops::RangeInclusive<u64>) {
    for number in steps {
        for p in a.parameters_mut().into_iter().filter(|p| p.name().ends_with("lora_E")) {
            let moved = p.value().to_f64_vec().unwrap().iter().map(|x| (x + 0.1) as f32).collect();
            let moved = Tensor::from_vec(moved, p.value().dims()).unwrap();
            p.set_value(moved);
        }
        let values = values(a);
        a.on_step_end(StepInfo { number, total: 12 }, &values).unwrap();
    }
}

#[test]
fn ranks_fall_to_the_target_and_stay() {
    let mut a = adapter();
    let total = |a: &AdaLora| a.ranks().values().sum::<usize>();
    train(&mut a, 1..=2);
    assert_eq!(total(&a), 8);
    train(&mut a, 3..=5);
    assert!((4..8).contains(&total(&a)));
    train(&mut a, 6..=12);
    assert_eq!(total(&a), 4);
    let zeros = |p: &Parameter| p.value().to_f64_vec().unwrap().iter().filter(|x| **x == 0.0).count();
    assert_eq!(a.triplets.values().map(|t| zeros(&t.e)).sum::<usize>(), 4);
    let saved = a.saved().unwrap();
    let rows: usize = saved.tensors.iter().filter(|(n, _)| n.ends_with("lora_A")).map(|(_, t)| t.dims()[0]).sum();
    assert_eq!(rows, 4, "only the ranks that are left are written");
}

#[test]
fn saved_adapter_computes_the_same_with_fewer_ranks() {
    let mut a = adapter();
    train(&mut a, 1..=12);
    let dir = tempfile::tempdir().unwrap();
    crate::save_adapter(dir.path(), &a, None, &TensorMap::new()).unwrap();
    let shape = ModelShape { width: 5, layers: 1, heads: 1, kv_heads: 1, head_width: 5, modules: modules() };
    let again = crate::load_adapter(dir.path(), &shape, Trainability::Frozen).unwrap().adapter;
    let run = |s: &dyn AdapterHooks| {
        let zeros = Parameter::new("w", Tensor::zeros(&[6, 5], DType::F32), Trainability::Frozen);
        let x = Var::constant(Tensor::from_vec(vec![1.0f32, -2.0, 3.0, 0.5, 0.1], &[1, 5]).unwrap());
        let y = Linear::new("l.q_proj".into(), zeros).forward(&x, s, &ForwardCtx::evaluate()).unwrap();
        y.value().to_f64_vec().unwrap()
    };
    let (before, after) = (run(&a), run(&*again));
    assert!(before.iter().any(|x| x.abs() > 1e-6));
    for (x, y) in before.iter().zip(&after) {
        assert!((x - y).abs() < 1e-6);
    }
    let twice = tempfile::tempdir().unwrap();
    crate::save_adapter(twice.path(), &*again, None, &TensorMap::new()).unwrap();
    let bytes = |d: &tempfile::TempDir| std::fs::read(d.path().join("adapter_model.safetensors")).unwrap();
    assert_eq!(bytes(&dir), bytes(&twice));
}

#[test]
fn resumed_state_continues_the_same() {
    let (mut whole, mut first) = (adapter(), adapter());
    train(&mut whole, 1..=12);
    train(&mut first, 1..=6);
    let mut second = adapter();
    for (to, from) in second.parameters_mut().into_iter().zip(first.parameters()) {
        to.set_value(from.value().clone());
    }
    second.set_state(&first.state().unwrap()).unwrap();
    train(&mut second, 7..=12);
    assert_eq!(second.ranks(), whole.ranks());
    for (x, y) in second.parameters().iter().zip(whole.parameters()) {
        assert_eq!(x.value().to_f64_vec().unwrap(), y.value().to_f64_vec().unwrap());
    }
}

#[test]
fn orthogonal_vectors_cost_nothing_and_others_learn() {
    let mut a = adapter();
    for p in a.parameters_mut() {
        let dims = p.value().dims().to_vec();
        let identity = (0..dims[0] * dims[1]).map(|i| f32::from(i / dims[1] == i % dims[1])).collect();
        p.set_value(Tensor::from_vec(identity, &dims).unwrap());
    }
    assert_eq!(a.extra_loss().unwrap().unwrap().value().item().unwrap(), 0.0);
    let loss = adapter().extra_loss().unwrap().unwrap();
    // New vectors are small, so each product is close to zero and each norm to sqrt(r) = 2.
    assert!((loss.value().item().unwrap() - 0.5 * 2.0).abs() < 1e-2);
    backward(&loss).unwrap();
}

#[test]
fn values_are_asked_for_as_long_as_ranks_may_fall() {
    let a = adapter();
    let watched = |number| a.params_to_sync(StepInfo { number, total: 12 }).len();
    assert_eq!([watched(1), watched(8), watched(9), watched(12)], [6, 6, 0, 0]);
}

#[test]
fn a_run_too_short_for_falling_ranks_is_refused() {
    let mut a = adapter();
    let e = a.on_step_end(StepInfo { number: 1, total: 5 }, &StepValues::new()).unwrap_err();
    assert!(e.to_string().contains("first_steps"), "{e}");
}
