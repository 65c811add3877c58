//! QEMU's fw_cfg device: named files from the host (`-fw_cfg name=opt/burrow/cmdline,string=…`).
//!
//! Byte-wise port I/O; it is read once at boot, for the command line.

use super::port::{inb, outw};

const SELECT: u16 = 0x510;
const DATA: u16 = 0x511;
const SIGNATURE: u16 = 0;
const DIRECTORY: u16 = 0x19;

fn select(key: u16) {
    // SAFETY: 1. the selector of fw_cfg; unused where there is none.
    unsafe { outw(SELECT, key) };
}

fn byte() -> u8 {
    // SAFETY: 1. reads the next byte of the selected item.
    unsafe { inb(DATA) }
}

fn be32() -> u32 {
    u32::from_be_bytes([byte(), byte(), byte(), byte()])
}

/// Copies the file `name` into `buf`, as much as fits; `None` without the device or the file.
pub(super) fn read_file(name: &str, buf: &mut [u8]) -> Option<usize> {
    select(SIGNATURE);
    if [byte(), byte(), byte(), byte()] != *b"QEMU" {
        return None;
    }
    select(DIRECTORY);
    let (mut key, mut len) = (0, 0);
    for _ in 0..be32().min(1024) {
        let size = be32();
        let this = u16::from_be_bytes([byte(), byte()]);
        let _reserved = [byte(), byte()];
        let mut file = [0u8; 56];
        file.fill_with(byte);
        if file.starts_with(name.as_bytes()) && file.get(name.len()) == Some(&0) {
            (key, len) = (this, size as usize);
            break;
        }
    }
    if key == 0 {
        return None;
    }
    select(key);
    let n = len.min(buf.len());
    buf[..n].fill_with(byte);
    Some(n)
}
