//! The operations, one file each, named as in `clinpeft_tensor::ops`, where shapes are checked before a backend is called.

macro_rules! modules {
    (differentiable { $($op:ident { $($methods:tt)* })* } in_place { $($other:ident { $($more:tt)* })* }) => {
        $(pub(crate) mod $op;)*
        $(pub(crate) mod $other;)*
    };
}
clinpeft_tensor::for_each_op!(modules);
