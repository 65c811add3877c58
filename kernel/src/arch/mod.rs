//! The contract between the machine and the runtime.

#[cfg(target_os = "none")]
mod x86_64;
