//! Addresses to names and lines, from the table that the host program packs beside the kernel.
//!
//! The file (all little endian): magic `BURROWSY`, then `u32` version = 1, nfuncs, nlines, nfiles,
//! strings_len; `funcs[nfuncs]` of `{addr, size, name}` sorted by addr; `lines[nlines]` of `{addr, file,
//! line}` sorted by addr, file `0xffffffff` ending a sequence; `files[nfiles]` of `{name}`; the strings,
//! NUL-terminated and already demangled. Addresses are offsets from `KERNEL_BASE`, names offsets into the
//! strings. Looked up by binary search in place: no allocation, no lock, fit for a dying kernel. A file that
//! does not parse is refused as a whole at boot; a wild index inside it yields "no symbol".

use core::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};

#[cfg(target_os = "none")]
use crate::arch::x86_64::KERNEL_BASE;
#[cfg(not(target_os = "none"))]
const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000; // unit tests only

static DATA: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static LEN: AtomicUsize = AtomicUsize::new(0);

/// What is known about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// The function's name; empty if only the line is known.
    pub name: &'a str,
    /// Bytes from the function's start.
    pub offset: usize,
    /// The source file.
    pub file: Option<&'a str>,
    /// The line in it.
    pub line: u32,
}

/// Takes the boot module with the symbols into use, if there is one.
#[cfg(target_os = "none")]
pub(crate) fn init_on_bsp(module: Option<&'static [u8]>) {
    if let Some(data) = module
        && !init(data)
    {
        crate::println!("boot: the symbols module is not one: backtraces show addresses");
    }
}

/// As `init_on_bsp`; `false` if it is no symbol file.
pub fn init(data: &'static [u8]) -> bool {
    if Table::parse(data).is_none() {
        return false;
    }
    LEN.store(data.len(), Ordering::Relaxed);
    DATA.store(data.as_ptr().cast_mut(), Ordering::Release); // pairs with the Acquire in `resolve`
    true
}

/// Looks an address of the kernel image up.
///
/// For a return address pass `addr - 1`: the call, not what follows it.
pub fn resolve(addr: usize) -> Option<Symbol<'static>> {
    let p = DATA.load(Ordering::Acquire); // pairs with the Release in `init`
    if p.is_null() {
        return None;
    }
    // SAFETY: `init` stored exactly this slice, which lives for ever.
    let data: &'static [u8] = unsafe { core::slice::from_raw_parts(p, LEN.load(Ordering::Relaxed)) };
    let off = u32::try_from(addr.checked_sub(KERNEL_BASE as usize)?).ok()?;
    Table::parse(data)?.resolve(off)
}

/// The parts of the file.
struct Table<'a> {
    funcs: &'a [u8],
    lines: &'a [u8],
    files: &'a [u8],
    strings: &'a [u8],
}

const HEADER: usize = 28;
const END_OF_SEQUENCE: u32 = u32::MAX;

fn word(b: &[u8], index: usize) -> Option<u32> {
    let b = b.get(index.checked_mul(4)?..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*b))
}

impl<'a> Table<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        if !data.starts_with(b"BURROWSY") || word(data, 2)? != 1 {
            return None;
        }
        let n = |i| word(data, i).map(|n| n as usize);
        let (funcs, rest) = data.get(HEADER..)?.split_at_checked(n(3)?.checked_mul(12)?)?;
        let (lines, rest) = rest.split_at_checked(n(4)?.checked_mul(12)?)?;
        let (files, rest) = rest.split_at_checked(n(5)?.checked_mul(4)?)?;
        let (strings, _) = rest.split_at_checked(n(6)?)?;
        Some(Table {
            funcs,
            lines,
            files,
            strings,
        })
    }

    fn resolve(&self, off: u32) -> Option<Symbol<'a>> {
        let func = last_at_or_before(self.funcs, off).and_then(|i| {
            let start = word(self.funcs, i * 3)?;
            let size = word(self.funcs, i * 3 + 1)?;
            (size == 0 || off - start < size).then_some(())?;
            Some((self.string(word(self.funcs, i * 3 + 2)?)?, (off - start) as usize))
        });
        let line = last_at_or_before(self.lines, off).and_then(|i| {
            let file = word(self.lines, i * 3 + 1)?;
            (file != END_OF_SEQUENCE).then_some(())?;
            Some((
                self.string(word(self.files, file as usize)?)?,
                word(self.lines, i * 3 + 2)?,
            ))
        });
        if func.is_none() && line.is_none() {
            return None;
        }
        let (name, offset) = func.unwrap_or(("", 0));
        Some(Symbol {
            name,
            offset,
            file: line.map(|l| l.0),
            line: line.map_or(0, |l| l.1),
        })
    }

    fn string(&self, at: u32) -> Option<&'a str> {
        let s = self.strings.get(at as usize..)?;
        let end = s.iter().position(|&b| b == 0)?;
        core::str::from_utf8(&s[..end]).ok()
    }
}

/// Index of the last 12-byte row whose first word is ≤ `off`.
fn last_at_or_before(rows: &[u8], off: u32) -> Option<usize> {
    let (mut lo, mut hi) = (0, rows.len() / 12);
    while lo < hi {
        let mid = lo + (hi - lo) / 2;
        if word(rows, mid * 3)? <= off {
            lo = mid + 1
        } else {
            hi = mid
        }
    }
    lo.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let strings = b"first\0second\0kernel/src/a.rs\0";
        let mut f = b"BURROWSY".to_vec();
        let rows: &[u32] = &[
            1,
            2,
            4,
            1,
            strings.len() as u32, // version and counts
            0x100,
            0x10,
            0,
            0x120,
            0,
            6, // functions
            0x100,
            0,
            10,
            0x108,
            0,
            11,
            0x110,
            u32::MAX,
            0,
            0x120,
            0,
            20, // lines
            13, // files
        ];
        f.extend(rows.iter().flat_map(|w| w.to_le_bytes()));
        f.extend(strings);
        f
    }

    #[test]
    fn addresses_get_names_and_lines() {
        let f = file();
        let t = Table::parse(&f).unwrap();
        let at = |off| t.resolve(off).map(|s| (s.name, s.offset, s.file, s.line));
        let a = Some("kernel/src/a.rs");
        assert_eq!(at(0xff), None);
        assert_eq!(at(0x100), Some(("first", 0, a, 10)));
        assert_eq!(at(0x10f), Some(("first", 15, a, 11)));
        assert_eq!(at(0x110), None);
        assert_eq!(at(0x123), Some(("second", 3, a, 20)));
    }

    #[test]
    fn broken_files_are_refused() {
        let f = file();
        for n in 0..f.len() {
            assert!(Table::parse(&f[..n]).is_none(), "cut to {n} bytes");
        }
        assert!(!init(b"not a symbol file"));
        assert!(resolve(0xffff_ffff_8000_0100).is_none());
    }
}
