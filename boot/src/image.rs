//! Disk images (not yet).
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::config::Boot;

pub(crate) fn cached(_elf: &Path, _boot: Boot) -> Result<PathBuf> {
    bail!("disk images are not built yet")
}
