//! One conformance test for all units: every unit of this machine, and the tiles in plain Rust.

use super::*;
use clinpeft_rng::{Seed, normal};
use proptest::prelude::*;

/// Every unit that can run here, with the precision it promises.
fn all() -> Vec<(&'static dyn Unit, Precision)> {
    let mut all: Vec<(&'static dyn Unit, Precision)> = tiles::emulated::units().to_vec();
    for precision in [Precision::StrictF32, Precision::F32, Precision::Bf16] {
        all.extend(units(precision).into_iter().map(|u| (u, precision)));
    }
    all
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
    turned: [bool; 2],
}

impl Operands {
    fn left(&self) -> View<'_, f32> {
        let Sizes { m, k, .. } = self.sizes;
        let (across, along) = if self.turned[0] { (1, m) } else { (k, 1) };
        View { values: &self.a, across, along }
    }
    fn right<'a, T>(&self, values: &'a [T]) -> View<'a, T> {
        let Sizes { k, n, .. } = self.sizes;
        let (across, along) = if self.turned[1] { (1, n) } else { (k, 1) };
        View { values, across, along }
    }
    fn run(&self, unit: &dyn Unit, b: Right<'_, f32>, update: Update<f32>) -> Vec<f32> {
        self.run_packed(unit, b, Kept::Nowhere, update)
    }
    fn run_packed(&self, unit: &dyn Unit, b: Right<'_, f32>, kept: Kept<'_>, update: Update<f32>) -> Vec<f32> {
        let mut y = random(self.sizes.m * self.sizes.n, "y");
        unit.product(self.left(), b, kept, &mut y, self.sizes, update);
        y
    }
    /// Each element in f64 with the sum of the sizes of its terms.
    fn oracle(&self, b: &[f32], update: Update<f32>) -> Vec<(f64, f64)> {
        let Sizes { m, k, n } = self.sizes;
        let (a, b, y) = (self.left(), self.right(b), random(m * n, "y"));
        let (keep, factor) = (f64::from(update.keep), f64::from(update.factor));
        let element = |at: usize| {
            let terms = (0..k).map(|p| factor * f64::from(a.at(at / n, p)) * f64::from(b.at(at % n, p)));
            let before = if keep == 0.0 { 0.0 } else { keep * f64::from(y[at]) };
            terms.fold((before, before.abs()), |(s, t), x| (s + x, t + x.abs()))
        };
        (0..m * n).map(element).collect()
    }
}

/// The right operand in 16 bits.
fn narrowed(b: &[f32]) -> (Vec<Bf16>, Vec<F16>) {
    b.iter().map(|x| (Bf16::from_f32(*x), F16::from_f32(*x))).unzip()
}

fn check(operands: &Operands, update: Update<f32>) {
    let (short, half) = narrowed(&operands.b);
    let cases: [(Right<'_, f32>, Vec<f32>); 3] = [
        (Right::Same(operands.right(&operands.b)), operands.b.clone()),
        (Right::Bf16(operands.right(&short)), short.iter().map(|x| x.to_f32()).collect()),
        (Right::F16(operands.right(&half)), half.iter().map(|x| x.to_f32()).collect()),
    ];
    for (b, wide) in &cases {
        let want = operands.oracle(wide, update);
        for (unit, precision) in all() {
            let got = operands.run(unit, *b, update);
            for (i, (got, (want, size))) in got.iter().zip(&want).enumerate() {
                let error = (f64::from(*got) - want).abs();
                let allowed = tolerance(precision, operands.sizes.k) * size + 1e-30;
                assert!(
                    error <= allowed,
                    "{} {precision:?}: element {i} of {:?} turned {:?} is {got}, not {want} (off {error:e} > {allowed:e})",
                    unit.name(),
                    operands.sizes,
                    operands.turned
                );
            }
        }
    }
}

fn operands(m: usize, k: usize, n: usize, turned: [bool; 2]) -> Operands {
    Operands { a: random(m * k, "a"), b: random(k * n, "b"), sizes: Sizes { m, k, n }, turned }
}

const SET: Update<f32> = Update { keep: 0.0, factor: 1.0 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_unit_agrees_with_the_oracle(
        m in 1usize..80, k in 1usize..90, n in 1usize..80, t in 0usize..4,
        keep in prop::sample::select(vec![0.0f32, 1.0, -0.5]), factor in prop::sample::select(vec![1.0f32, 2.0]),
    ) {
        check(&operands(m, k, n, [t & 1 == 1, t & 2 == 2]), Update { keep, factor });
    }
}

#[test]
fn products_of_several_pieces_agree_with_the_oracle() {
    // More rows than are packed at once, more of the sum than is in work at once, several blocks of columns, rows that lie a
    // page apart.
    for (m, k, n) in [(1030, 40, 16), (33, 2100, 40), (33, 2100, 16), (29, 2048, 24), (64, 30, 700), (1, 64, 1000)] {
        for turned in [[false, false], [false, true], [true, true]] {
            check(&operands(m, k, n, turned), SET);
        }
    }
}

#[test]
fn old_values_are_not_read_where_they_are_not_kept() {
    let o = operands(13, 20, 37, [false; 2]);
    for (unit, _) in all() {
        let mut y = vec![f32::NAN; 13 * 37];
        unit.product(o.left(), Right::Same(o.right(&o.b)), Kept::Nowhere, &mut y, o.sizes, SET);
        assert!(y.iter().all(|v| v.is_finite()), "{}", unit.name());
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
            for (unit, precision) in all() {
                if value == 3.4e38 && precision == Precision::Bf16 {
                    continue;
                }
                let got = o.run(unit, Right::Same(o.right(&o.b)), SET);
                for (got, (want, _)) in got.iter().zip(&want) {
                    let want = *want as f32;
                    let same = got.is_nan() == want.is_nan() && got.is_infinite() == want.is_infinite();
                    assert!(same && (got.is_nan() || got.signum() == want.signum()), "{}: {got} {want}", unit.name());
                }
            }
        }
    }
}

#[test]
fn same_bits_at_any_number_of_threads() {
    for (m, k, n) in [(130, 600, 200), (700, 90, 16), (16, 300, 500)] {
        let o = operands(m, k, n, [false; 2]);
        for (unit, _) in all() {
            let run = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| o.run(unit, Right::Same(o.right(&o.b)), SET))
            };
            let one = run(1);
            for threads in [2, 3, 7] {
                let more = run(threads);
                assert!(one.iter().zip(&more).all(|(a, b)| a.to_bits() == b.to_bits()), "{} {threads}", unit.name());
            }
        }
    }
}

#[test]
fn values_do_not_depend_on_where_operands_begin_in_memory() {
    let o = operands(20, 50, 40, [false; 2]);
    for (unit, _) in all() {
        let want = o.run(unit, Right::Same(o.right(&o.b)), SET);
        for shift in 1..4 {
            let moved: Vec<f32> = vec![0.0; shift].into_iter().chain(o.a.iter().copied()).collect();
            let left = View { values: &moved[shift..], ..o.left() };
            let mut y = vec![0.0; want.len() + shift];
            unit.product(left, Right::Same(o.right(&o.b)), Kept::Nowhere, &mut y[shift..], o.sizes, SET);
            assert_eq!(want, y[shift..], "{}", unit.name());
        }
    }
}

#[test]
fn chosen_unit_reproduces_the_reference() {
    for precision in [Precision::StrictF32, Precision::F32, Precision::Bf16] {
        assert!(reproduces_a_reference(unit(precision), precision), "{}", isa(precision));
    }
}

/// Products with few and many rows, all with the same packs.
fn packs_change_nothing(k: usize, n: usize, turned: [bool; 2]) {
    let all = all();
    let packs: Vec<[Pack; 3]> = all.iter().map(|_| Default::default()).collect();
    let b = random(k * n, "b");
    let (short, half) = narrowed(&b);
    // More rows than are packed at once only where the sum is short: the tiles in plain Rust are slow.
    let most = if k < 100 { 1030 } else { 40 };
    for m in [1, 13, most] {
        let o = Operands { a: random(m * k, "a"), b: b.clone(), sizes: Sizes { m, k, n }, turned };
        for ((unit, precision), packs) in all.iter().zip(&packs) {
            let rights = [Right::Same(o.right(&b)), Right::Bf16(o.right(&short)), Right::F16(o.right(&half))];
            for (b, pack) in rights.into_iter().zip(packs) {
                let update = Update { keep: 0.5, factor: 2.0 };
                let (want, got) = (o.run(*unit, b, update), o.run_packed(*unit, b, Kept::Here(pack), update));
                let same = want.iter().zip(&got).all(|(x, y)| x.to_bits() == y.to_bits());
                assert!(same, "{} {precision:?} {:?} turned {turned:?}", unit.name(), o.sizes);
            }
        }
    }
    for ((unit, _), packs) in all.iter().zip(&packs) {
        // Whatever a unit says it keeps, it keeps; where it multiplies few columns another way, it may keep less.
        let kept = packs.iter().filter(|p| p.words().is_some()).count();
        assert!(unit.words_of_pack(k, n) > 0 || kept == 0, "{}", unit.name());
        assert!(unit.words_of_pack(k, n) == 0 || kept == 3 || n <= 512, "{}", unit.name());
    }
}

#[test]
fn kept_packs_change_no_bit() {
    for (k, n) in [(1, 1), (37, 16), (90, 33), (2100, 16), (2100, 70), (31, 700)] {
        for turned in [[false, false], [false, true], [true, true]] {
            packs_change_nothing(k, n, turned);
        }
    }
}

/// The forward product fills the pack, the backward one turns it: dX = g W beside y = x W^T.
fn turned_packs_change_nothing(out: usize, input: usize) {
    let w = random(out * input, "w");
    let (short, half) = narrowed(&w);
    let x = Operands {
        a: random(3 * input, "x"),
        b: w.clone(),
        sizes: Sizes { m: 3, k: input, n: out },
        turned: [false; 2],
    };
    let g = |m| Operands {
        a: random(m * out, "g"),
        b: w.clone(),
        sizes: Sizes { m, k: out, n: input },
        turned: [false, true],
    };
    for (unit, _) in all() {
        for stored in 0..3 {
            let right = |o: &Operands| match stored {
                0 => Right::Same(o.right(&w)),
                1 => Right::Bf16(o.right(&short)),
                _ => Right::F16(o.right(&half)),
            };
            let pack = Pack::default();
            x.run_packed(unit, right(&x), Kept::Here(&pack), SET);
            for o in [g(2), g(40)] {
                let update = Update { keep: 0.5, factor: 2.0 };
                let (want, got) =
                    (o.run(unit, right(&o), update), o.run_packed(unit, right(&o), Kept::Turned(&pack), update));
                let same = want.iter().zip(&got).all(|(x, y)| x.to_bits() == y.to_bits());
                assert!(same, "{} {:?} stored {stored}", unit.name(), o.sizes);
            }
            // A unit that says so reads nothing but the pack.
            if unit.turns() && pack.words().is_some() {
                let (o, none) = (g(5), vec![0.0; w.len()]);
                let got = o.run_packed(unit, Right::Same(o.right(&none)), Kept::Turned(&pack), SET);
                assert!(got == o.run(unit, right(&o), SET), "{} {:?}", unit.name(), o.sizes);
            }
        }
    }
}

#[test]
fn one_pack_serves_both_directions() {
    assert!(tiles::emulated::units().iter().all(|(unit, _)| unit.turns()));
    for (out, input) in [(1, 1), (45, 37), (32, 64), (700, 31), (33, 1100), (1100, 70)] {
        turned_packs_change_nothing(out, input);
    }
}

#[test]
fn weights_that_do_not_split_are_not_packed_in_two() {
    let mut o = operands(9, 40, 35, [false; 2]);
    o.b[7] = f32::INFINITY;
    for (unit, precision) in all() {
        let pack = Pack::default();
        let b = || Right::Same(o.right(&o.b));
        let (want, got) = (o.run(unit, b(), SET), o.run_packed(unit, b(), Kept::Here(&pack), SET));
        assert!(want.iter().zip(&got).all(|(x, y)| x.to_bits() == y.to_bits()), "{}", unit.name());
        assert!(!(unit.name() == "amx_bf16_split" && pack.words().is_some()), "{precision:?}");
    }
}
