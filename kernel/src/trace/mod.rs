//! Seeing inside a running kernel. So far: [`schedtrace`], a line about the scheduler every so many milliseconds.
#![forbid(unsafe_code)]

pub mod schedtrace;
