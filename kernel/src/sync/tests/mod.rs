//! Host tests of mutex and wait group; models under loom.

#[cfg(loom)]
mod loom_models;
#[cfg(not(loom))]
mod std_tests;
