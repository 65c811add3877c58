//! One place that says where atomics come from: `core`, or loom's under `--cfg loom`.
#![forbid(unsafe_code)]

#[cfg(not(loom))]
pub(crate) use core::hint::spin_loop;
#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

#[cfg(loom)]
pub(crate) use loom::hint::spin_loop;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// A constructor that is `const`, except under loom, whose atomics cannot be made at compile time.
macro_rules! shim_const_fn {
    ($(#[$m:meta])* $v:vis fn $name:ident($($a:ident : $t:ty),* $(,)?) -> $r:ty $body:block) => {
        #[cfg(not(loom))]
        $(#[$m])*
        $v const fn $name($($a: $t),*) -> $r $body
        #[cfg(loom)]
        $(#[$m])*
        $v fn $name($($a: $t),*) -> $r $body
    };
}

#[cfg(not(loom))]
pub(crate) use alloc::sync::Arc;

#[cfg(loom)]
pub(crate) use loom::sync::Arc;
