//! The document as files.

pub(crate) mod csv;
pub(crate) mod html;
pub(crate) mod latex;
pub(crate) mod markdown;
