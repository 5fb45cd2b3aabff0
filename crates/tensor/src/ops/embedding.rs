//! Rows of a table by index: token embeddings, and the pooled rows of a batch.
//!
//! ```text
//! y[i] = table[ids[i]]            table: [v, d]   ids: u32 [t]   y: [t, d]
//! dtable[j] = sum of g[i] over all i with ids[i] = j
//! ```
//! The table may be stored in bf16 or f16; the rows come out in f32.

use super::{check_ids, require, require_dtype, same_device};
use crate::buffer::Buffer;
use crate::real::Real;
use crate::{DType, Device, Element, Result, Tensor};
use half::{bf16, f16};

/// Returns the rows. Errors if an index is outside of the table.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    require(table.dims().len() == 2 && ids.dims().len() == 1, "embedding", "table [v, d] and ids [t]", &[table, ids])?;
    require_dtype("embedding", ids, DType::U32)?;
    match same_device("embedding", &[table, ids])? {
        Device::Other(backend) => backend.embedding(table, ids),
        Device::Cpu => {
            let (rows, d) = table.rows_and_width();
            let ids = ids.as_slice::<u32>()?;
            check_ids("embedding", ids, rows)?;
            match table.dtype() {
                DType::Bf16 => gather(table.as_slice::<bf16>()?, ids, d, |x| x.to_f32()),
                DType::F16 => gather(table.as_slice::<f16>()?, ids, d, |x| x.to_f32()),
                _ => by_float!("embedding", table, T => gather(table.as_slice::<T>()?, ids, d, |x| x)),
            }
        }
    }
}

/// Returns the gradient of a table with `rows` rows.
pub fn embedding_backward(g: &Tensor, ids: &Tensor, rows: usize) -> Result<Tensor> {
    upcast!(g);
    let fits = g.dims().len() == 2 && ids.dims() == [g.dims()[0]];
    require(fits, "embedding_backward", "g [t, d] and ids [t]", &[g, ids])?;
    require_dtype("embedding_backward", ids, DType::U32)?;
    match same_device("embedding_backward", &[g, ids])? {
        Device::Other(backend) => backend.embedding_backward(g, ids, rows),
        Device::Cpu => {
            let d = g.dims()[1];
            let ids = ids.as_slice::<u32>()?;
            check_ids("embedding_backward", ids, rows)?;
            by_float!("embedding_backward", g, T => Tensor::from_vec(scatter(g.as_slice::<T>()?, ids, rows, d), &[rows, d]))
        }
    }
}

fn gather<S: Copy, T: Element>(table: &[S], ids: &[u32], d: usize, widen: impl Fn(S) -> T) -> Result<Tensor> {
    let mut y = Buffer::uninit(ids.len() * d);
    for (y, id) in y.chunks_exact_mut(d.max(1)).zip(ids) {
        for (to, from) in y.iter_mut().zip(&table[*id as usize * d..]) {
            *to = widen(*from);
        }
    }
    Tensor::from_buffer(y, &[ids.len(), d])
}

fn scatter<T: Real>(g: &[T], ids: &[u32], rows: usize, d: usize) -> Vec<T> {
    let mut table = vec![T::ZERO; rows * d];
    for (i, id) in ids.iter().enumerate() {
        let row = &mut table[*id as usize * d..][..d];
        for (to, from) in row.iter_mut().zip(&g[i * d..(i + 1) * d]) {
            *to += *from;
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_ids_add_their_gradients() {
        let table = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], &[2, 2]).unwrap();
        let ids = Tensor::from_vec(vec![1u32, 1, 0], &[3]).unwrap();
        let y = embedding(&table, &ids).unwrap();
        assert_eq!(y.as_slice::<f32>().unwrap(), [3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
        let d = embedding_backward(&y, &ids, 2).unwrap();
        assert_eq!(d.as_slice::<f32>().unwrap(), [1.0, 2.0, 6.0, 8.0]);
        assert!(embedding(&table, &Tensor::from_vec(vec![2u32], &[1]).unwrap()).is_err());
    }
}
