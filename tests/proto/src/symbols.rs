//! Layout of the symbols file that travels beside a stripped kernel (initrd or ramdisk).
//!
//! Little endian, every table an array of `u32` records, so that the guest reads it in place by binary
//! search and never allocates:
//!
//! ```text
//! "BURROWSY", version, nfuncs, nlines, nfiles, strings_len
//! funcs[nfuncs]  { addr_off, size, name_off }   sorted by addr_off (address - KERNEL_BASE)
//! lines[nlines]  { addr_off, file_idx, line }   sorted by addr_off; file_idx NO_FILE ends a sequence
//! files[nfiles]  { name_off }
//! strings        NUL-terminated UTF-8, demangled; paths relative to the tree or `core/src/...`
//! ```

/// First bytes of the file.
pub const MAGIC: [u8; 8] = *b"BURROWSY";
/// The layout described here.
pub const VERSION: u32 = 1;
/// Addresses are stored as offsets from here.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// Bytes before the first table.
pub const HEADER_LEN: usize = 8 + 5 * 4;
/// Bytes of one function record.
pub const FUNC_LEN: usize = 12;
/// Bytes of one line record.
pub const LINE_LEN: usize = 12;
/// Bytes of one file record.
pub const FILE_LEN: usize = 4;
/// `file_idx` of a record that ends a sequence of lines.
pub const NO_FILE: u32 = u32::MAX;
