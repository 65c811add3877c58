//! Where the pinned toolchain keeps its tools.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::config::root;

/// The pinned toolchain's channel, from rust-toolchain.toml.
pub(crate) fn channel() -> Result<String> {
    let text = std::fs::read_to_string(root().join("rust-toolchain.toml"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("channel = "));
    Ok(line
        .context("rust-toolchain.toml names no channel")?
        .trim_matches('"')
        .to_string())
}

/// A tool of component `llvm-tools`: `llvm-objcopy`, `llvm-objdump`.
pub(crate) fn llvm(name: &str) -> Result<PathBuf> {
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .env("RUSTUP_TOOLCHAIN", channel()?)
        .current_dir("/")
        .output()
        .context("rustc --print sysroot")?;
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout)?.trim());
    std::fs::read_dir(sysroot.join("lib/rustlib"))?
        .flatten()
        .map(|target| target.path().join("bin").join(name))
        .find(|tool| tool.exists())
        .with_context(|| {
            format!("the toolchain has no {name} (component llvm-tools; `make setup` installs it)")
        })
}
