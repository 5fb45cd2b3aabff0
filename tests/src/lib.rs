//! Tests of the whole program stand beside this file.
