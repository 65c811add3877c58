//! Host tests on threads; models under loom.

#[cfg(not(loom))]
mod lock_tests;
#[cfg(loom)]
mod loom_limits;
#[cfg(loom)]
mod loom_models;
#[cfg(not(loom))]
mod map_tests;
#[cfg(not(loom))]
mod std_tests;
#[cfg(not(loom))]
mod work_tests;
