//! `image ELF`: a disk image that boots by BIOS or UEFI, cached by content.
//!
//! The kernel on the disk is stripped, because a loader that reads a debug ELF through BIOS calls takes
//! seconds; its symbols travel beside it as the ramdisk. The image itself is made by `boot/image`, a program of
//! its own.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    config::{Boot, root},
    symbols, toolchain,
};

/// The image of `elf`, made anew if the ELF's content has changed.
pub(crate) fn cached(elf: &Path, boot: Boot) -> Result<PathBuf> {
    let bytes = std::fs::read(elf).with_context(|| format!("reading {}", elf.display()))?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    std::fs::read(root().join("boot/image/Cargo.lock"))
        .unwrap_or_default()
        .hash(&mut hasher);
    let name = elf.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let directory = root().join("target/images");
    let prefix = format!("{name}-{}-", boot.name());
    let out = directory.join(format!("{prefix}{:016x}.img", hasher.finish()));
    if out.exists() {
        return Ok(out);
    }
    std::fs::create_dir_all(&directory)?;
    // Images of earlier builds are of no use to anybody.
    for old in std::fs::read_dir(&directory)?.flatten() {
        let name = old.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && name.ends_with(".img") {
            let _ = std::fs::remove_file(old.path());
        }
    }
    let temporary = directory.join(format!("{prefix}{}.tmp", std::process::id()));
    let made = write(elf, boot, &temporary);
    if made.is_ok() {
        std::fs::rename(&temporary, &out)?;
    } else {
        let _ = std::fs::remove_file(&temporary);
    }
    made.map(|()| out)
}

/// Writes the image of `elf` to `out`.
pub(crate) fn write(elf: &Path, boot: Boot, out: &Path) -> Result<()> {
    let symbols = symbols::cached(elf)?;
    let stripped = out.with_extension("stripped");
    let made = strip(elf, &stripped).and_then(|()| {
        let status = Command::new(builder(boot)?)
            .args([&stripped, &symbols, out])
            .status()?;
        if status.success() {
            Ok(())
        } else {
            bail!("burrow-image failed")
        }
    });
    let _ = std::fs::remove_file(&stripped);
    made
}

/// Removes symbols and debug information; sections that are loaded stay, and so does their table, in which the
/// loader looks for `.bootloader-config`.
fn strip(elf: &Path, out: &Path) -> Result<()> {
    let status = Command::new(toolchain::llvm("llvm-objcopy")?)
        .arg("--strip-all")
        .args([elf, out])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        bail!("llvm-objcopy failed")
    }
}

/// The image builder for `boot`, compiled if need be.
fn builder(boot: Boot) -> Result<PathBuf> {
    let target = root().join(format!("target/image-{}", boot.name()));
    let binary = target.join("debug/burrow-image");
    let modified = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    let sources = [
        "boot/image/src/main.rs",
        "boot/image/Cargo.toml",
        "boot/image/Cargo.lock",
    ];
    let newest = sources
        .iter()
        .filter_map(|source| modified(&root().join(source)))
        .max();
    if modified(&binary).is_some_and(|made| Some(made) > newest) {
        return Ok(binary);
    }
    eprintln!(
        "burrow-boot: compiling the {} loader, once; this takes a minute or two",
        boot.name()
    );
    let mut cargo = Command::new("cargo");
    // Outside the tree, as for this program itself (see boot/run).
    cargo
        .current_dir("/")
        .env("RUSTUP_TOOLCHAIN", toolchain::channel()?);
    for name in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
    ] {
        cargo.env_remove(name);
    }
    cargo.args(["build", "--quiet", "--features", boot.name(), "--manifest-path"]);
    cargo
        .arg(root().join("boot/image/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target);
    if !cargo.status().context("cannot start cargo")?.success() {
        bail!("the image builder does not compile");
    }
    // Cargo leaves an unchanged binary alone; its age is what we go by.
    std::fs::File::options()
        .append(true)
        .open(&binary)?
        .set_modified(std::time::SystemTime::now())?;
    Ok(binary)
}
