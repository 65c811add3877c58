//! Helpers that several test images share.
#![no_std]
#![forbid(unsafe_code)]
