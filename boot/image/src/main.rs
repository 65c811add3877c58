//! `burrow-image KERNEL RAMDISK OUT`: puts a stripped kernel and its symbols on a disk that boots.
//!
//! Built once with the feature `bios` and once with `uefi`, each in a target directory of its own, because
//! compiling the loader's stages takes a minute or two: who boots by PVH never pays, who boots by one
//! firmware pays once. Called only by `burrow-boot`, which caches the images.

use std::{path::PathBuf, process::ExitCode};

use bootloader::{BootConfig, DiskImageBuilder};

fn main() -> ExitCode {
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [kernel, ramdisk, out] = &args[..] else {
        eprintln!("usage: burrow-image KERNEL RAMDISK OUT");
        return ExitCode::FAILURE;
    };
    let mut builder = DiskImageBuilder::new(kernel.clone());
    builder.set_ramdisk(ramdisk.clone());
    // The loader's own log costs time and would stand between the kernel's lines.
    let mut config = BootConfig::default();
    config.serial_logging = false;
    config.frame_buffer_logging = false;
    builder.set_boot_config(&config);
    #[cfg(all(feature = "bios", not(feature = "uefi")))]
    let made = builder.create_bios_image(out);
    #[cfg(feature = "uefi")]
    let made = builder.create_uefi_image(out);
    #[cfg(not(any(feature = "bios", feature = "uefi")))]
    let made: Result<(), String> = Err(format!("{}: built without bios and uefi", out.display()));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("burrow-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}
