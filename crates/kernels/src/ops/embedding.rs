//! Rows of a table by index: token embeddings, and the pooled rows of a batch.
//!
//! ```text
//! y[i] = table[ids[i]]        dtable[j] = sum of g[i] over all i with ids[i] = j, in the order of i
//! ```
//! The table may be stored in 16 bits, and in several buffers. The ids are known on the CPU, which sorts them for the
//! gradient: no sum depends on which unit comes first.

use crate::context::DeviceContext;
use crate::launch::{cube, units};
use crate::packed_half::{Half, unpack_at};
use clinpeft_tensor::{Result, Tensor};
use cubecl::prelude::*;

/// Returns the rows in f32.
pub(crate) fn embedding<R: Runtime>(device: &DeviceContext<R>, table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let (rows, width) = table.rows_and_width();
    let work = device.begin("embedding")?;
    let at = work.ids(ids, rows)?.values;
    let (y, out) = work.output(&[ids.count(), width])?;
    for part in work.parts(table)? {
        work.run(|compute| {
            let (grid, from) = (units(y.count()), part.values.array());
            let (at, out, width) = (at.array(), out.array(), width.max(1));
            match Half::of(table.dtype()) {
                None => gather::launch::<R>(compute, grid, cube(), from, at, out, width, part.first, part.rows),
                Some(n) => {
                    gather_half::launch::<R>(compute, grid, cube(), from, at, out, width, part.first, part.rows, n);
                }
            }
        })?;
    }
    Ok(y)
}

/// Returns the gradient of a table with `rows` rows.
pub(crate) fn embedding_backward<R: Runtime>(
    device: &DeviceContext<R>,
    g: &Tensor,
    ids: &Tensor,
    rows: usize,
) -> Result<Tensor> {
    let width = g.dims()[1];
    let work = device.begin("embedding_backward")?;
    let gs = work.input(g)?;
    let (starts, order) = sorted(work.ids(ids, rows)?.host()?, rows);
    let longest = starts.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
    // A term is an iteration here.
    work.can_sum(longest as usize * 16)?;
    let (starts, order) = (work.numbers(&starts)?, work.numbers(&order)?);
    let (table, out) = work.output(&[rows, width])?;
    work.run(|compute| {
        let (grid, lists) = (units(table.count()), (starts.array(), order.array()));
        scatter::launch::<R>(compute, grid, cube(), gs.array(), lists.0, lists.1, out.array(), width.max(1));
    })?;
    Ok(table)
}

/// Where the places of each id begin, and all places, sorted by id and otherwise as they come.
fn sorted(ids: &[u32], rows: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; rows + 1];
    for id in ids {
        starts[*id as usize + 1] += 1;
    }
    for row in 0..rows {
        starts[row + 1] += starts[row];
    }
    let (mut next, mut order) = (starts.clone(), vec![0; ids.len()]);
    for (place, id) in ids.iter().enumerate() {
        order[next[*id as usize] as usize] = place as u32;
        next[*id as usize] += 1;
    }
    (starts, order)
}

/// Copies the rows that lie in this part of the table: `rows` of them, from row `first` on.
#[cube(launch)]
pub(crate) fn gather(
    table: &Array<f32>,
    ids: &Array<u32>,
    y: &mut Array<f32>,
    width: usize,
    first: usize,
    rows: usize,
) {
    if ABSOLUTE_POS < y.len() {
        let id = ids[ABSOLUTE_POS / width] as usize;
        if id >= first && id < first + rows {
            y[ABSOLUTE_POS] = table[(id - first) * width + ABSOLUTE_POS % width];
        }
    }
}

#[cube(launch)]
pub(crate) fn gather_half(
    table: &Array<u32>,
    ids: &Array<u32>,
    y: &mut Array<f32>,
    width: usize,
    first: usize,
    rows: usize,
    #[comptime] half: Half,
) {
    if ABSOLUTE_POS < y.len() {
        let id = ids[ABSOLUTE_POS / width] as usize;
        if id >= first && id < first + rows {
            y[ABSOLUTE_POS] = unpack_at(table, (id - first) * width + ABSOLUTE_POS % width, half);
        }
    }
}

#[cube(launch)]
pub(crate) fn scatter(g: &Array<f32>, starts: &Array<u32>, order: &Array<u32>, table: &mut Array<f32>, width: usize) {
    if ABSOLUTE_POS < table.len() {
        let (row, column) = (ABSOLUTE_POS / width, ABSOLUTE_POS % width);
        let mut sum = 0.0f32;
        let mut i = starts[row] as usize;
        let end = starts[row + 1] as usize;
        while i < end {
            sum += g[order[i] as usize * width + column];
            i += 1;
        }
        table[ABSOLUTE_POS] = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_an_id_keep_their_order() {
        let (starts, order) = sorted(&[2, 0, 2, 3, 0], 5);
        assert_eq!((starts, order), (vec![0, 2, 2, 4, 5, 5], vec![1, 4, 0, 2, 3]));
    }
}
