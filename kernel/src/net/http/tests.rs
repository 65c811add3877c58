//! Bytes of strangers: what is accepted, what is refused and how, in pieces of any size.
#![forbid(unsafe_code)]
