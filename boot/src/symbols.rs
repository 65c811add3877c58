//! `symbols ELF`: the symbol and line tables, in the layout of `burrow_proto::symbols`.
//!
//! Function names come from the ELF's symbol table, demangled; file and line from DWARF's line programs. Names are
//! those of real functions, so a line must be theirs too: code inlined into `f` is shown at the place in `f` where
//! the outermost inlined call stands, not at a line of core's `ptr/mod.rs`.
//! The refused alternative is to hand DWARF to the guest: it is ten times the size, and a kernel in
//! trouble should not run a parser with a stack machine in it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use burrow_proto::symbols as layout;
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

/// The symbols file beside `elf`, made anew if it is older than the ELF or this program.
pub(crate) fn cached(elf: &Path) -> Result<PathBuf> {
    let mut out = elf.as_os_str().to_owned();
    out.push(".sym");
    let out = PathBuf::from(out);
    let modified = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    let newest = modified(elf).max(std::env::current_exe().ok().and_then(|exe| modified(&exe)));
    if modified(&out) <= newest {
        write(elf, &out)?;
    }
    Ok(out)
}

/// Writes the symbols file of `elf` to `out`.
pub(crate) fn write(elf: &Path, out: &Path) -> Result<()> {
    let bytes = std::fs::read(elf).with_context(|| format!("reading {}", elf.display()))?;
    let table = build(&bytes).with_context(|| format!("symbols of {}", elf.display()))?;
    // Rename into place: two runs may make the same file at once.
    let temporary = out.with_extension(format!("sym.{}", std::process::id()));
    std::fs::write(&temporary, table).with_context(|| format!("writing {}", temporary.display()))?;
    std::fs::rename(&temporary, out).with_context(|| format!("writing {}", out.display()))
}

/// Symbols of the linker script that name places, not functions.
const LINKER: [&str; 2] = ["__text_start", "__etext"];

/// Does this ELF hold the mark of `burrow::test_main!()`?
pub(crate) fn is_test_image(elf: &Path) -> Result<bool> {
    let bytes = std::fs::read(elf).with_context(|| format!("reading {}", elf.display()))?;
    let elf = object::File::parse(&*bytes)?;
    Ok(elf
        .symbols()
        .any(|symbol| symbol.name() == Ok("__BURROW_TEST_IMAGE")))
}

#[derive(Default)]
struct Strings {
    bytes: Vec<u8>,
    seen: HashMap<String, u32>,
}

impl Strings {
    fn offset(&mut self, text: &str) -> u32 {
        if let Some(&at) = self.seen.get(text) {
            return at;
        }
        let at = self.bytes.len() as u32;
        self.bytes.extend(text.bytes().filter(|&b| b != 0));
        self.bytes.push(0);
        self.seen.insert(text.to_string(), at);
        at
    }
}

fn build(elf: &[u8]) -> Result<Vec<u8>> {
    let elf = object::File::parse(elf)?;
    let mut strings = Strings::default();
    let funcs = functions(&elf, &mut strings);
    let (lines, files) = lines(&elf, &mut strings)?;

    let mut out = Vec::new();
    out.extend(layout::MAGIC);
    let counts = [funcs.len(), lines.len(), files.len(), strings.bytes.len()];
    let words = [layout::VERSION]
        .into_iter()
        .chain(counts.iter().map(|&n| n as u32));
    let words = words
        .chain(funcs.into_iter().flatten())
        .chain(lines.into_iter().flatten())
        .chain(files);
    for word in words {
        out.extend(word.to_le_bytes());
    }
    out.extend(strings.bytes);
    Ok(out)
}

fn offset(address: u64) -> Option<u32> {
    address.checked_sub(layout::KERNEL_BASE)?.try_into().ok()
}

fn functions(elf: &object::File<'_>, strings: &mut Strings) -> Vec<[u32; 3]> {
    let is_text = |symbol: &object::Symbol<'_, '_>| {
        let section = symbol
            .section_index()
            .and_then(|index| elf.section_by_index(index).ok());
        section.is_some_and(|section| section.kind() == SectionKind::Text)
    };
    // (address, not a proper function, size, name): of several names for one address a function's wins.
    let mut found: Vec<(u32, bool, u64, &str)> = elf
        .symbols()
        .filter(|s| {
            matches!(
                s.kind(),
                SymbolKind::Text | SymbolKind::Unknown | SymbolKind::Label
            ) && is_text(s)
        })
        .filter_map(|s| {
            Some((
                offset(s.address())?,
                s.kind() != SymbolKind::Text,
                s.size(),
                s.name().ok()?,
            ))
        })
        .filter(|(_, _, _, name)| !name.is_empty() && !name.starts_with('.') && !LINKER.contains(name))
        .collect();
    found.sort();
    found.dedup_by_key(|(at, ..)| *at);
    (0..found.len())
        .map(|i| {
            let (at, _, size, name) = found[i];
            // Assembly labels have no size: they reach to the next symbol.
            let to_next = found.get(i + 1).map_or(16, |next| next.0 - at);
            let size = if size == 0 { to_next } else { size as u32 };
            [
                at,
                size,
                strings.offset(&format!("{:#}", rustc_demangle::demangle(name))),
            ]
        })
        .collect()
}

type Slice<'a> = gimli::EndianSlice<'a, gimli::LittleEndian>;

fn lines(elf: &object::File<'_>, strings: &mut Strings) -> Result<(Vec<[u32; 3]>, Vec<u32>)> {
    let load = |id: gimli::SectionId| -> Result<std::borrow::Cow<'_, [u8]>, object::Error> {
        elf.section_by_name(id.name())
            .map_or(Ok(Default::default()), |section| section.uncompressed_data())
    };
    let sections = gimli::DwarfSections::load(load)?;
    let dwarf = sections.borrow(|bytes| Slice::new(bytes, gimli::LittleEndian));
    let mut files: HashMap<String, u32> = HashMap::new();
    // Sequences come in any order; sorting them whole keeps "the last row at or below" right.
    let mut sequences: Vec<Vec<[u32; 3]>> = Vec::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        let Some(program) = unit.line_program.clone() else {
            continue;
        };
        let calls = inlined_calls(&dwarf, &unit)?;
        let mut by_index: HashMap<u64, u32> = HashMap::new();
        let mut rows = program.rows();
        let mut sequence: Vec<[u32; 3]> = Vec::new();
        while let Some((header, row)) = rows.next_row()? {
            let Some(at) = offset(row.address()) else { continue };
            if row.end_sequence() {
                sequence.push([at, layout::NO_FILE, 0]);
                sequences.push(std::mem::take(&mut sequence));
                continue;
            }
            // The last call that starts at or before this address; outermost calls do not overlap.
            let call = calls[..calls.partition_point(|call| call.start <= row.address())].last();
            let (index, line) = match call.filter(|call| row.address() < call.end) {
                Some(call) => (call.file, call.line),
                None => (row.file_index(), row.line().map_or(0, |line| line.get())),
            };
            // Line 0 is glue of the compiler's: it belongs to the statement before.
            if line == 0 && !sequence.is_empty() {
                continue;
            }
            let line = line as u32;
            let file = match by_index.get(&index) {
                Some(&file) => file,
                None => {
                    let path = file_path(&dwarf, &unit, header, index)?;
                    let next = files.len() as u32;
                    let file = *files.entry(path).or_insert(next);
                    by_index.insert(index, file);
                    file
                }
            };
            match sequence.last_mut() {
                // Several rows for one address: the last one is the statement that runs there.
                Some(last) if last[0] == at => *last = [at, file, line],
                Some(last) if last[1] == file && last[2] == line => {}
                _ => sequence.push([at, file, line]),
            }
        }
    }
    sequences.retain(|sequence| sequence[0][0] != 0 && sequence.len() > 1);
    sequences.sort_by_key(|sequence| sequence[0][0]);
    let mut lines: Vec<[u32; 3]> = Vec::new();
    for row in sequences.into_iter().flatten() {
        match lines.last_mut() {
            // One sequence ends where the next begins.
            Some(last) if last[0] == row[0] && last[1] == layout::NO_FILE => *last = row,
            _ => lines.push(row),
        }
    }
    let mut names: Vec<(u32, String)> = files.into_iter().map(|(name, index)| (index, name)).collect();
    names.sort();
    Ok((
        lines,
        names.iter().map(|(_, name)| strings.offset(name)).collect(),
    ))
}

/// A range of code that was inlined into a function, and where that function calls it.
struct InlinedCall {
    start: u64,
    end: u64,
    file: u64,
    line: u64,
}

/// The outermost inlined calls of a unit, by address.
fn inlined_calls(dwarf: &gimli::Dwarf<Slice<'_>>, unit: &gimli::Unit<Slice<'_>>) -> Result<Vec<InlinedCall>> {
    let mut calls = Vec::new();
    // Depth of the inlined call we are inside of, if any: deeper entries are not outermost.
    let mut inside: Option<isize> = None;
    let mut entries = unit.entries();
    while let Some(entry) = entries.next_dfs()? {
        if inside.is_some_and(|depth| entry.depth() > depth) {
            continue;
        }
        inside = None;
        if entry.tag() != gimli::DW_TAG_inlined_subroutine {
            continue;
        }
        inside = Some(entry.depth());
        let number = |name| match entry.attr_value(name)? {
            gimli::AttributeValue::FileIndex(index) => Some(index),
            value => value.udata_value(),
        };
        let (Some(file), Some(line)) = (number(gimli::DW_AT_call_file), number(gimli::DW_AT_call_line))
        else {
            continue;
        };
        let mut ranges = dwarf.die_ranges(unit, entry)?;
        while let Some(range) = ranges.next()? {
            calls.push(InlinedCall {
                start: range.begin,
                end: range.end,
                file,
                line,
            });
        }
    }
    calls.sort_by_key(|call| call.start);
    Ok(calls)
}

fn file_path(
    dwarf: &gimli::Dwarf<Slice<'_>>,
    unit: &gimli::Unit<Slice<'_>>,
    header: &gimli::LineProgramHeader<Slice<'_>>,
    index: u64,
) -> Result<String> {
    let Some(file) = header.file(index) else {
        return Ok("?".into());
    };
    let mut path = String::new();
    let mut push = |part: &str| {
        if part.starts_with('/') {
            path.clear();
        } else if !path.is_empty() && !path.ends_with('/') {
            path.push('/');
        }
        path.push_str(part);
    };
    if let Some(dir) = unit.comp_dir {
        push(&dir.to_string_lossy());
    }
    if let Some(dir) = file.directory(header) {
        push(&dwarf.attr_string(unit, dir)?.to_string_lossy());
    }
    push(&dwarf.attr_string(unit, file.path_name())?.to_string_lossy());
    Ok(shorten(&path, &crate::config::root().to_string_lossy()))
}

/// Relative to the tree; `core/src/...` for the standard library; `crate-1.0/src/...` for a dependency.
fn shorten(path: &str, root: &str) -> String {
    if let Some(rest) = path.strip_prefix(root) {
        return rest.trim_start_matches('/').to_string();
    }
    for marker in ["/library/", "/rustlib/src/rust/library/"] {
        if let Some((_, rest)) = path.rsplit_once(marker) {
            return rest.replace("core/src/../../", "");
        }
    }
    match path
        .split_once("/registry/src/")
        .and_then(|(_, rest)| rest.split_once('/'))
    {
        Some((_, rest)) => rest.to_string(),
        None => path.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shortened() {
        assert_eq!(shorten("/t/kernel/src/lib.rs", "/t"), "kernel/src/lib.rs");
        assert_eq!(
            shorten("/x/lib/rustlib/src/rust/library/core/src/panicking.rs", "/t"),
            "core/src/panicking.rs"
        );
        assert_eq!(
            shorten("/c/registry/src/index-1/gimli-0.3/src/a.rs", "/t"),
            "gimli-0.3/src/a.rs"
        );
    }
}
