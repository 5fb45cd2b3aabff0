//! One conformance test for all backends: every one of this machine, and AMX in plain Rust.

mod emulated;

use super::operand::GemmBackend;
use super::prepack::PackSlot;
use super::select::{backend, backends, reproduces_a_reference, strict, tolerance};
use super::*;
use clinpeft_rng::{Seed, normal};
use half::{bf16, f16};
use proptest::prelude::*;

/// Every backend that can run here, with the precision it promises.
fn all() -> Vec<(&'static dyn GemmBackend, Precision)> {
    let mut all: Vec<(&'static dyn GemmBackend, Precision)> = emulated().to_vec();
    for precision in [Precision::StrictF32, Precision::F32, Precision::Bf16] {
        all.extend(backends(precision).into_iter().map(|b| (b, precision)));
    }
    all
}

/// Both kernels of AMX over the emulated registers.
fn emulated() -> [(&'static dyn GemmBackend, Precision); 2] {
    static BF16: blocking::Blocked<amx::Bf16<emulated::Emulated>, { amx::MR }> = blocking::Blocked(amx::Bf16::new());
    static SPLIT: blocking::Blocked<amx::SplitF32<emulated::Emulated>, { amx::MR }> =
        blocking::Blocked(amx::SplitF32::new(strict));
    [(&BF16, Precision::Bf16), (&SPLIT, Precision::F32)]
}

fn random(n: usize, name: &str) -> Vec<f32> {
    let mut s = Seed(21).stream(name);
    (0..n).map(|_| normal(&mut s) as f32).collect()
}

/// Operands of one product, in every order that a layout can give.
struct Operands {
    a: Vec<f32>,
    b: Vec<f32>,
    sizes: Sizes,
    transposed: [bool; 2],
}

impl Operands {
    fn left(&self) -> MatrixView<'_, f32> {
        let Sizes { m, k, .. } = self.sizes;
        let (stride, k_stride) = if self.transposed[0] { (1, m) } else { (k, 1) };
        MatrixView { values: &self.a, stride, k_stride }
    }
    fn right<'a, T>(&self, values: &'a [T]) -> MatrixView<'a, T> {
        let Sizes { k, n, .. } = self.sizes;
        let (stride, k_stride) = if self.transposed[1] { (1, n) } else { (k, 1) };
        MatrixView { values, stride, k_stride }
    }
    /// The product of `a` with the right operand in f32.
    fn product<'a>(&'a self, a: MatrixView<'a, f32>, scale: AlphaBeta<f32>) -> Gemm<'a, f32> {
        let b = RhsView::Same(self.right(&self.b));
        Gemm { a, b, pack: CachedPack::None, sizes: self.sizes, scale }
    }
    fn run(&self, backend: &dyn GemmBackend, b: RhsView<'_, f32>, scale: AlphaBeta<f32>) -> Vec<f32> {
        self.run_packed(backend, b, CachedPack::None, scale)
    }
    fn run_packed(
        &self,
        backend: &dyn GemmBackend,
        b: RhsView<'_, f32>,
        pack: CachedPack<'_>,
        scale: AlphaBeta<f32>,
    ) -> Vec<f32> {
        let mut y = random(self.sizes.m * self.sizes.n, "y");
        let product = Gemm { a: self.left(), b, pack, sizes: self.sizes, scale };
        backend.gemm(&product, &mut y);
        y
    }
    /// Each element in f64 with the sum of the sizes of its terms.
    fn oracle(&self, b: &[f32], scale: AlphaBeta<f32>) -> Vec<(f64, f64)> {
        let Sizes { m, k, n } = self.sizes;
        let (a, b, y) = (self.left(), self.right(b), random(m * n, "y"));
        let (beta, alpha) = (f64::from(scale.beta), f64::from(scale.alpha));
        let element = |at: usize| {
            let terms = (0..k).map(|p| alpha * f64::from(a.at(at / n, p)) * f64::from(b.at(at % n, p)));
            let before = if beta == 0.0 { 0.0 } else { beta * f64::from(y[at]) };
            terms.fold((before, before.abs()), |(s, t), x| (s + x, t + x.abs()))
        };
        (0..m * n).map(element).collect()
    }
}

/// The right operand in 16 bits.
fn halves(b: &[f32]) -> (Vec<bf16>, Vec<f16>) {
    b.iter().map(|x| (bf16::from_f32(*x), f16::from_f32(*x))).unzip()
}

fn check(operands: &Operands, scale: AlphaBeta<f32>) {
    let (short, half) = halves(&operands.b);
    let cases: [(RhsView<'_, f32>, Vec<f32>); 3] = [
        (RhsView::Same(operands.right(&operands.b)), operands.b.clone()),
        (RhsView::Bf16(operands.right(&short)), short.iter().map(|x| x.to_f32()).collect()),
        (RhsView::F16(operands.right(&half)), half.iter().map(|x| x.to_f32()).collect()),
    ];
    for (b, wide) in &cases {
        let want = operands.oracle(wide, scale);
        for (backend, precision) in all() {
            let got = operands.run(backend, *b, scale);
            for (i, (got, (want, size))) in got.iter().zip(&want).enumerate() {
                let error = (f64::from(*got) - want).abs();
                let allowed = tolerance(precision, operands.sizes.k) * size + 1e-30;
                assert!(
                    error <= allowed,
                    "{} {precision:?}: element {i} of {:?} transposed {:?} is {got}, not {want} (off {error:e} > {allowed:e})",
                    backend.isa(),
                    operands.sizes,
                    operands.transposed
                );
            }
        }
    }
}

fn operands(m: usize, k: usize, n: usize, transposed: [bool; 2]) -> Operands {
    Operands { a: random(m * k, "a"), b: random(k * n, "b"), sizes: Sizes { m, k, n }, transposed }
}

const SET: AlphaBeta<f32> = AlphaBeta { alpha: 1.0, beta: 0.0 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_backend_agrees_with_the_oracle(
        m in 1usize..80, k in 1usize..90, n in 1usize..80, t in 0usize..4,
        beta in prop::sample::select(vec![0.0f32, 1.0, -0.5]), alpha in prop::sample::select(vec![1.0f32, 2.0]),
    ) {
        check(&operands(m, k, n, [t & 1 == 1, t & 2 == 2]), AlphaBeta { alpha, beta });
    }
}

#[test]
fn products_of_several_pieces_agree_with_the_oracle() {
    // More rows than are packed at once, more of the sum than is in work at once, several blocks of columns, rows that lie a
    // page apart.
    for (m, k, n) in [(1030, 40, 16), (33, 2100, 40), (33, 2100, 16), (29, 2048, 24), (64, 30, 700), (1, 64, 1000)] {
        for transposed in [[false, false], [false, true], [true, true]] {
            check(&operands(m, k, n, transposed), SET);
        }
    }
}

#[test]
fn old_values_are_not_read_where_beta_is_zero() {
    let o = operands(13, 20, 37, [false; 2]);
    for (backend, _) in all() {
        let mut y = vec![f32::NAN; 13 * 37];
        backend.gemm(&o.product(o.left(), SET), &mut y);
        assert!(y.iter().all(|v| v.is_finite()), "{}", backend.isa());
    }
}

#[test]
fn infinities_and_nan_come_out_where_the_oracle_has_them() {
    for (place, value) in [(5, f32::INFINITY), (5, f32::NEG_INFINITY), (5, f32::NAN), (5, 3.4e38)] {
        for side in [0, 1] {
            let mut o = operands(17, 40, 35, [false; 2]);
            // Exact in bf16, so that a remainder of zero meets the infinity.
            o.a.fill(2.0);
            o.b.fill(1.0);
            [&mut o.a, &mut o.b][side][place] = value;
            let want = o.oracle(&o.b, SET);
            for (backend, precision) in all() {
                if value == 3.4e38 && precision == Precision::Bf16 {
                    continue;
                }
                let got = o.run(backend, RhsView::Same(o.right(&o.b)), SET);
                for (got, (want, _)) in got.iter().zip(&want) {
                    let want = *want as f32;
                    let same = got.is_nan() == want.is_nan() && got.is_infinite() == want.is_infinite();
                    assert!(same && (got.is_nan() || got.signum() == want.signum()), "{}: {got} {want}", backend.isa());
                }
            }
        }
    }
}

#[test]
fn same_bits_at_any_number_of_threads() {
    for (m, k, n) in [(130, 600, 200), (700, 90, 16), (16, 300, 500)] {
        let o = operands(m, k, n, [false; 2]);
        for (backend, _) in all() {
            let run = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| o.run(backend, RhsView::Same(o.right(&o.b)), SET))
            };
            let one = run(1);
            for threads in [2, 3, 7] {
                let more = run(threads);
                assert!(one.iter().zip(&more).all(|(a, b)| a.to_bits() == b.to_bits()), "{} {threads}", backend.isa());
            }
        }
    }
}

#[test]
fn values_do_not_depend_on_where_operands_begin_in_memory() {
    let o = operands(20, 50, 40, [false; 2]);
    for (backend, _) in all() {
        let want = o.run(backend, RhsView::Same(o.right(&o.b)), SET);
        for shift in 1..4 {
            let moved: Vec<f32> = vec![0.0; shift].into_iter().chain(o.a.iter().copied()).collect();
            let left = MatrixView { values: &moved[shift..], ..o.left() };
            let mut y = vec![0.0; want.len() + shift];
            backend.gemm(&o.product(left, SET), &mut y[shift..]);
            assert_eq!(want, y[shift..], "{}", backend.isa());
        }
    }
}

#[test]
fn chosen_backend_reproduces_the_reference() {
    for precision in [Precision::StrictF32, Precision::F32, Precision::Bf16] {
        assert!(reproduces_a_reference(backend(precision), precision), "{}", isa(precision));
    }
}

/// Products with few and many rows, all with the same packs.
fn packs_change_nothing(k: usize, n: usize, transposed: [bool; 2]) {
    let all = all();
    let packs: Vec<[PackSlot; 3]> = all.iter().map(|_| Default::default()).collect();
    let b = random(k * n, "b");
    let (short, half) = halves(&b);
    // More rows than are packed at once only where the sum is short: the tiles in plain Rust are slow.
    let most = if k < 100 { 1030 } else { 40 };
    for m in [1, 13, most] {
        let o = Operands { a: random(m * k, "a"), b: b.clone(), sizes: Sizes { m, k, n }, transposed };
        for ((backend, precision), packs) in all.iter().zip(&packs) {
            let rights = [RhsView::Same(o.right(&b)), RhsView::Bf16(o.right(&short)), RhsView::F16(o.right(&half))];
            for (b, pack) in rights.into_iter().zip(packs) {
                let scale = AlphaBeta { alpha: 2.0, beta: 0.5 };
                let (want, got) = (o.run(*backend, b, scale), o.run_packed(*backend, b, CachedPack::Use(pack), scale));
                let same = want.iter().zip(&got).all(|(x, y)| x.to_bits() == y.to_bits());
                assert!(same, "{} {precision:?} {:?} transposed {transposed:?}", backend.isa(), o.sizes);
            }
        }
    }
    for ((backend, _), packs) in all.iter().zip(&packs) {
        // Whatever a backend says it caches, it caches; where it multiplies few columns another way, it may cache less.
        let cached = packs.iter().filter(|p| p.elements().is_some()).count();
        assert!(backend.packed_len(k, n) > 0 || cached == 0, "{}", backend.isa());
        assert!(backend.packed_len(k, n) == 0 || cached == 3 || n <= 512, "{}", backend.isa());
    }
}

#[test]
fn cached_packs_change_no_bit() {
    for (k, n) in [(1, 1), (37, 16), (90, 33), (2100, 16), (2100, 70), (31, 700)] {
        for transposed in [[false, false], [false, true], [true, true]] {
            packs_change_nothing(k, n, transposed);
        }
    }
}

/// The forward product fills the pack, the backward one reads it transposed: dX = g W beside y = x W^T.
fn transposed_packs_change_nothing(out: usize, input: usize) {
    let w = random(out * input, "w");
    let (short, half) = halves(&w);
    let x = Operands {
        a: random(3 * input, "x"),
        b: w.clone(),
        sizes: Sizes { m: 3, k: input, n: out },
        transposed: [false; 2],
    };
    let g = |m| Operands {
        a: random(m * out, "g"),
        b: w.clone(),
        sizes: Sizes { m, k: out, n: input },
        transposed: [false, true],
    };
    for (backend, _) in all() {
        for stored in 0..3 {
            let right = |o: &Operands| match stored {
                0 => RhsView::Same(o.right(&w)),
                1 => RhsView::Bf16(o.right(&short)),
                _ => RhsView::F16(o.right(&half)),
            };
            let pack = PackSlot::default();
            x.run_packed(backend, right(&x), CachedPack::Use(&pack), SET);
            for o in [g(2), g(40)] {
                let scale = AlphaBeta { alpha: 2.0, beta: 0.5 };
                let (want, got) = (
                    o.run(backend, right(&o), scale),
                    o.run_packed(backend, right(&o), CachedPack::Transposed(&pack), scale),
                );
                let same = want.iter().zip(&got).all(|(x, y)| x.to_bits() == y.to_bits());
                assert!(same, "{} {:?} stored {stored}", backend.isa(), o.sizes);
            }
            // A backend that says so reads nothing but the pack.
            if backend.reads_transposed_packs() && pack.elements().is_some() {
                let (o, none) = (g(5), vec![0.0; w.len()]);
                let got = o.run_packed(backend, RhsView::Same(o.right(&none)), CachedPack::Transposed(&pack), SET);
                assert!(got == o.run(backend, right(&o), SET), "{} {:?}", backend.isa(), o.sizes);
            }
        }
    }
}

#[test]
fn one_pack_serves_both_directions() {
    assert!(emulated().iter().all(|(backend, _)| backend.reads_transposed_packs()));
    for (out, input) in [(1, 1), (45, 37), (32, 64), (700, 31), (33, 1100), (1100, 70)] {
        transposed_packs_change_nothing(out, input);
    }
}

#[test]
fn weights_that_do_not_split_are_not_packed_in_two() {
    let mut o = operands(9, 40, 35, [false; 2]);
    o.b[7] = f32::INFINITY;
    for (backend, precision) in all() {
        let pack = PackSlot::default();
        let b = || RhsView::Same(o.right(&o.b));
        let (want, got) = (o.run(backend, b(), SET), o.run_packed(backend, b(), CachedPack::Use(&pack), SET));
        assert!(want.iter().zip(&got).all(|(x, y)| x.to_bits() == y.to_bits()), "{}", backend.isa());
        assert!(!(backend.isa() == "amx_bf16_split" && pack.elements().is_some()), "{precision:?}");
    }
}
