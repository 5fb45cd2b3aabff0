//! The list of operations.

/// Calls a macro with every operation: the name of its file in `ops`, and the methods that a backend owes for it.
///
/// The modules of `ops` in this crate, in `clinpeft-autodiff` and in `clinpeft-kernels`, the methods of
/// [`Backend`](crate::Backend) and the calls of the kernels all come from this list. A new operation is a line here, its three
/// files, and a case of the conformance suite.
#[macro_export]
macro_rules! for_each_op {
    ($callback:ident) => {
        $callback! {
            differentiable {
                attention {
                    fn attention(q: &Tensor, k: &Tensor, v: &Tensor, shape: &AttentionShape, cu_seqlens: &CuSeqlens)
                        -> (Tensor, Tensor);
                    fn attention_backward(g: &Tensor, saved: [&Tensor; 5], shape: &AttentionShape, cu_seqlens: &CuSeqlens)
                        -> (Tensor, Tensor, Tensor);
                }
                bce_with_logits { fn bce_with_logits(logits: &Tensor, targets: &Tensor) -> (Tensor, Tensor); }
                concat { fn concat(a: &Tensor, b: &Tensor) -> Tensor; fn cut(x: &Tensor, rows: usize) -> (Tensor, Tensor); }
                cross_entropy {
                    fn cross_entropy(logits: &Tensor, targets: &Tensor, weights: &Tensor) -> (Tensor, Tensor);
                    fn linear_cross_entropy(x: &Tensor, head: &Tensor, targets: &Tensor, weights: &Tensor, want: [bool; 2])
                        -> (Tensor, Option<Tensor>, Option<Tensor>);
                }
                dropout { fn dropout(x: &Tensor, rate: f64, key: Key) -> Tensor; }
                elementwise {
                    fn add(a: &Tensor, b: &Tensor) -> Tensor;
                    fn scale(x: &Tensor, factor: f64) -> Tensor;
                    fn mul(a: &Tensor, b: &Tensor) -> Tensor;
                }
                embedding {
                    fn embedding(table: &Tensor, ids: &Tensor) -> Tensor;
                    fn embedding_backward(g: &Tensor, ids: &Tensor, rows: usize) -> Tensor;
                }
                gelu { fn gelu(x: &Tensor) -> Tensor; fn gelu_backward(g: &Tensor, x: &Tensor) -> Tensor; }
                inverse_sqrt {
                    fn inverse_sqrt(x: &Tensor) -> Tensor;
                    fn inverse_sqrt_backward(g: &Tensor, y: &Tensor) -> Tensor;
                }
                layer_norm {
                    fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> (Tensor, Tensor);
                    fn layer_norm_backward(g: &Tensor, x: &Tensor, weight: &Tensor, moments: &Tensor) -> (Tensor, Tensor, Tensor);
                }
                low_rank { fn low_rank(base: &Tensor, x: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> (Tensor, Tensor); }
                lstm {
                    fn lstm(x: &Tensor, recurrent: &Tensor) -> (Tensor, Tensor, Tensor);
                    fn lstm_backward(g: &Tensor, saved: [&Tensor; 4]) -> (Tensor, Tensor);
                }
                matmul { fn matmul(a: &Tensor, b: &Tensor, layout: Layout) -> Tensor; }
                norm { fn norm(x: &Tensor) -> Tensor; fn norm_backward(g: &Tensor, x: &Tensor, y: &Tensor) -> Tensor; }
                relu { fn relu(x: &Tensor) -> Tensor; fn relu_backward(g: &Tensor, y: &Tensor) -> Tensor; }
                rms_norm {
                    fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> (Tensor, Tensor);
                    fn rms_norm_backward(g: &Tensor, x: &Tensor, weight: &Tensor, inv_rms: &Tensor) -> (Tensor, Tensor);
                }
                rotary { fn rotary(x: &Tensor, cos: &Tensor, sin: &Tensor, positions: &Tensor, direction: Direction) -> Tensor; }
                rowwise {
                    fn add_row(x: &Tensor, row: &Tensor) -> Tensor;
                    fn mul_row(x: &Tensor, row: &Tensor) -> Tensor;
                    fn sum_rows(x: &Tensor) -> Tensor;
                }
                silu_mul {
                    fn silu_mul(gate: &Tensor, up: &Tensor) -> Tensor;
                    fn silu_mul_backward(g: &Tensor, gate: &Tensor, up: &Tensor) -> (Tensor, Tensor);
                }
                tanh { fn tanh(x: &Tensor) -> Tensor; fn tanh_backward(g: &Tensor, y: &Tensor) -> Tensor; }
            }
            in_place {
                adamw { fn adamw(all: &mut [AdamWParam<'_>], clip: Option<Clip<'_>>, step: &AdamW) -> (); }
            }
        }
    };
}
