//! The network: plain blocking code on goroutines, and a netpoller that does all the waiting.

pub(crate) mod poll;
