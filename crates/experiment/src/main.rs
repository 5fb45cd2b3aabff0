//! The program `clinpeft`.
fn main() {}
