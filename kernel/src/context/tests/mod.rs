//! Host tests: the tree's rules one by one, its memory, and its races.

#[cfg(loom)]
mod loom_models;
#[cfg(not(loom))]
mod memory;
#[cfg(not(loom))]
mod rules;
