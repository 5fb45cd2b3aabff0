//! Which way of computing a product is the fastest for its sizes: measured once, and kept.
//!
//! A way counts only if its numbers are those of [`super::tiles`] for the first square of the result. What was chosen is written
//! to a file that names device, driver and version, if there is one ([`Choices::remember`]), so that the next process takes the
//! same way and makes the same bits.

use super::{Sizes, TILE, launched, ready_made, tiles};
use crate::client::lock;
use crate::ops::concat::copy;
use crate::work::{Loops, Operand, TURNS, Work};
use clinpeft_tensor::ops::Layout;
use clinpeft_tensor::{DType, Error, Result};
use cubecl::Runtime;
use cubek_matmul::launch::Strategy;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is smaller in some direction goes by [`tiles`] on a software driver.
const LARGE: usize = 128;

/// How a product is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the kernel of this crate.
    Tiles,
    /// By `cubek-matmul` on plain units.
    Units,
    /// The same with two buffers in turn.
    DoubleUnits,
    /// On tensor cores, by whole matrices.
    Cores,
    /// The same with two buffers in turn.
    DoubleCores,
    /// On tensor cores, register by register.
    Registers,
    /// The same with two buffers in turn.
    DoubleRegisters,
}

const ALL: [Way; 7] =
    [Way::Tiles, Way::Units, Way::DoubleUnits, Way::Cores, Way::DoubleCores, Way::Registers, Way::DoubleRegisters];

impl Way {
    /// Ways for operands of this type, bf16 or f32.
    pub(super) fn candidates(operands: DType) -> &'static [Way] {
        match operands {
            DType::Bf16 => &[Way::Cores, Way::DoubleCores, Way::Registers, Way::DoubleRegisters],
            _ => &[Way::Units, Way::DoubleUnits, Way::Tiles],
        }
    }

    /// What `cubek-matmul` calls it; `None` for the kernel of this crate.
    pub(super) fn strategy(self) -> Option<Strategy> {
        Some(match self {
            Way::Tiles => return None,
            Way::Units => Strategy::SimpleUnit(Default::default()),
            Way::DoubleUnits => Strategy::DoubleUnit(Default::default()),
            Way::Cores => Strategy::SimpleCyclicCmma(Default::default()),
            Way::DoubleCores => Strategy::DoubleCyclicCmma(Default::default()),
            Way::Registers => Strategy::SimpleCyclicMma(Default::default()),
            Way::DoubleRegisters => Strategy::DoubleCyclicMma(Default::default()),
        })
    }

    fn named(name: &str) -> Option<Way> {
        ALL.into_iter().find(|way| format!("{way:?}") == name)
    }
}

/// What was chosen so far, by what makes sizes alike.
#[derive(Debug, Default)]
pub(crate) struct Choices(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    ways: BTreeMap<String, Way>,
    file: Option<(PathBuf, String)>,
}

impl Choices {
    /// Takes what an earlier process chose for this `device`, and writes there what this one chooses.
    pub(crate) fn remember(&self, file: &Path, device: &str) -> Result<()> {
        let mut kept = lock(&self.0);
        if let Ok(text) = std::fs::read_to_string(file) {
            let mut lines = text.lines();
            // The choices of another device or version are made again.
            if lines.next() == Some(device) {
                let read =
                    lines.filter_map(|l| l.rsplit_once(' ')).filter_map(|(key, way)| Some((key, Way::named(way)?)));
                kept.ways.extend(read.map(|(key, way)| (key.to_owned(), way)));
            }
        }
        kept.file = Some((file.into(), device.into()));
        Ok(())
    }

    fn get(&self, key: &str) -> Option<Way> {
        lock(&self.0).ways.get(key).copied()
    }

    fn set(&self, key: String, way: Way) -> Result<()> {
        let mut kept = lock(&self.0);
        kept.ways.insert(key, way);
        let Some((file, device)) = &kept.file else {
            return Ok(());
        };
        let lines: String = kept.ways.iter().map(|(key, way)| format!("{key} {way:?}\n")).collect();
        clinpeft_files::write_atomic(file, format!("{device}\n{lines}"))
            .map_err(|e| Error::Backend { device: device.clone(), what: e.to_string() })
    }
}

/// The way for these operands.
pub(super) fn way<R: Runtime>(work: &Work<'_, R>, operands: [&Operand; 2], y: &Operand, sizes: &Sizes) -> Result<Way> {
    if work.client.loops == Loops::Counted {
        // A software driver's times say nothing. What is ready-made wastes most of its large tiles on what is narrow, is compiled
        // for many shapes, and takes who knows how many terms in a turn.
        let large = [sizes.rows, sizes.columns, sizes.depth].iter().all(|n| *n >= LARGE);
        return Ok(if large && sizes.depth <= TURNS { Way::Units } else { Way::Tiles });
    }
    let key = key(sizes, operands[0].dtype());
    if let Some(way) = work.client.choices.get(&key) {
        return Ok(way);
    }
    let way = fastest(work, operands, y, sizes)?;
    work.client.choices.set(key, way)?;
    Ok(way)
}

/// Rows differ from batch to batch, so they count by powers of two.
fn key(s: &Sizes, operands: DType) -> String {
    let layout = match s.layout {
        Layout::Normal => "normal",
        Layout::RightTransposed => "right",
        Layout::LeftTransposed => "left",
    };
    // In a weight's gradient the rows are the terms.
    let [rows, depth] = match s.layout {
        Layout::LeftTransposed => [s.rows, s.depth.next_power_of_two()],
        _ => [s.rows.next_power_of_two(), s.depth],
    };
    format!("{} x {rows} x {depth} x {} {layout} {operands:?}", s.batch.next_power_of_two(), s.columns)
}

/// Tries every way that the device and `cubek-matmul` allow.
pub(super) fn fastest<R: Runtime>(
    work: &Work<'_, R>,
    operands: [&Operand; 2],
    y: &Operand,
    sizes: &Sizes,
) -> Result<Way> {
    let square = Square::new(work, operands, sizes)?;
    let mut best: Option<(Duration, Way)> = None;
    for way in Way::candidates(operands[0].dtype()) {
        // The first run compiles. What is refused, or fails, on this device is no way.
        let ran = match way.strategy() {
            None => tiles(work, operands, y, sizes).map(|()| true)?,
            Some(strategy) => work.tried(|compute| launched(compute, &strategy, operands, y, sizes))?,
        };
        if !ran || !square.is_in(work, y, sizes)? {
            continue;
        }
        let begun = Instant::now();
        for _ in 0..3 {
            ready_made(work, operands, y, sizes, *way)?;
        }
        work.finish()?;
        let took = begun.elapsed();
        if best.is_none_or(|(shortest, _)| took < shortest) {
            best = Some((took, *way));
        }
    }
    Ok(best.map_or(Way::Tiles, |(_, way)| way))
}

/// The first square of a product as [`tiles`] computes it.
struct Square {
    on_cores: bool,
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Square {
    fn new<R: Runtime>(work: &Work<'_, R>, [a, b]: [&Operand; 2], sizes: &Sizes) -> Result<Square> {
        let (rows, columns) = (sizes.rows.min(TILE), sizes.columns.min(TILE));
        let part = Sizes { batch: 1, rows, columns, depth: sizes.depth, layout: sizes.layout, row: sizes.row };
        let part = part.with_row(2, columns);
        let y = work.scratch(&[rows, columns])?;
        tiles(work, [a, b], &y, &part)?;
        Ok(Square { on_cores: a.dtype() == DType::Bf16, rows, columns, values: work.read(&y)? })
    }

    /// Whether `y` begins with these numbers, to the order of the sums.
    fn is_in<R: Runtime>(&self, work: &Work<'_, R>, y: &Operand, sizes: &Sizes) -> Result<bool> {
        let own = work.scratch(&[self.rows, self.columns])?;
        for row in 0..self.rows {
            copy(work, (y, row * sizes.row[2]), (&own, row * self.columns), self.columns)?;
        }
        let scale = self.values.iter().fold(0f32, |m, v| m.max(v.abs()));
        // Tensor cores cut what they add.
        let tolerance = scale * if self.on_cores { 1e-3 } else { 1e-4 };
        let mut pairs = work.read(&own)?.into_iter().zip(&self.values);
        // Not `>`: a NaN must fail.
        Ok(pairs.all(|(got, want)| (got - want).abs() <= tolerance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_come_back_for_the_same_device_only() {
        let dir = std::env::temp_dir().join(format!("clinpeft-choices-{}", std::process::id()));
        let file = dir.join("a.txt");
        let made = Choices::default();
        made.remember(&file, "card, driver 1").unwrap();
        made.set("1 x 2 x 3 x 4 right bf16".into(), Way::DoubleCores).unwrap();
        let (same, other) = (Choices::default(), Choices::default());
        same.remember(&file, "card, driver 1").unwrap();
        other.remember(&file, "card, driver 2").unwrap();
        assert_eq!(same.get("1 x 2 x 3 x 4 right bf16"), Some(Way::DoubleCores));
        assert_eq!(other.get("1 x 2 x 3 x 4 right bf16"), None);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[cfg(feature = "vulkan")]
    #[test]
    fn the_chosen_way_computes_the_product() {
        use clinpeft_tensor::Tensor;
        let (_alone, device) = crate::vulkan::tests::alone();
        let ones = Tensor::from_vec(vec![1.0f32; 70 * 33], &[70, 33]).unwrap();
        let ones = device.upload(&ones).unwrap();
        let work = device.begin("test").unwrap();
        let sizes = Sizes::plain(Layout::RightTransposed, 70, 33, 70);
        let (a, y) = (work.input(&ones).unwrap(), work.scratch(&[70, 70]).unwrap());
        let way = fastest(&work, [&a, &a], &y, &sizes).unwrap();
        assert!(Way::candidates(DType::F32).contains(&way));
        assert!(ready_made(&work, [&a, &a], &y, &sizes, way).unwrap());
        assert!(work.read(&y).unwrap().iter().all(|v| *v == 33.0));
        // A way with other numbers is not trusted.
        let square = Square::new(&work, [&a, &a], &sizes).unwrap();
        assert!(square.is_in(&work, &y, &sizes).unwrap());
        let wrong = work.zeros(70 * 70).unwrap();
        assert!(!square.is_in(&work, &wrong, &sizes).unwrap());
    }
}
