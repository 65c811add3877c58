//! `golden ELF`: the heap's two fast paths, instruction by instruction, against the committed listing.
//!
//! A clock says too little about twenty instructions, and says it late. The listing shows at once what a change did to
//! `alloc` and `dealloc`, in the review of that change; and some things may not be on it at all ([`listing`]). After tcmalloc's
//! `fast_path.opt.golden`, which holds counts by kind; those are printed here, too.
//!
//! The listing depends on the pinned toolchain and on the layout of `MCache`, `Span` and the per-core block. A difference is
//! not a mistake by itself: look at it, then `make golden UPDATE=1` and commit.

use std::{fmt::Write, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSymbol};

use crate::{
    config::root,
    listing::{self, Counts, FastPath},
    toolchain,
};

const FILE: &str = "tests/golden/heap_fast_path.txt";
const FUNCTIONS: [&str; 2] = ["__rust_alloc", "__rust_dealloc"];
const HEAD: &str = "\
# What an allocation and a free execute when nothing is in the way (boot/src/golden.rs; docs/memory.md explains it).
# `slow` is further down in the same function. Written by `make golden UPDATE=1`.
";

/// Compares, or writes with `UPDATE=1`. 0 if all is well.
pub(crate) fn golden(elf: &Path) -> Result<i32> {
    let bytes = std::fs::read(elf).with_context(|| format!("reading {}", elf.display()))?;
    let object = object::File::parse(&*bytes)?;
    let name_of = |at| what_is_at(&object, at);
    let mut text = HEAD.to_string();
    let mut all = Vec::new();
    for function in FUNCTIONS {
        let listing = disassemble(elf, &symbol(&object, function)?)?;
        let path = listing::fast_path(&listing, name_of).with_context(|| {
            format!("the fast path of {function} (see `llvm-objdump -d --disassemble-symbols`)")
        })?;
        println!("golden {function}: {}", summary(&path));
        write!(text, "\n{function}: {}\n", summary(&path))?;
        for line in &path.code {
            writeln!(text, "    {line}")?;
        }
        all.push(path);
    }
    let pair: usize = all.iter().map(|path| path.code.len()).sum();
    println!("golden pair: {pair} instructions");
    let file = root().join(FILE);
    if std::env::var("UPDATE").is_ok_and(|v| !v.is_empty() && v != "0") {
        std::fs::create_dir_all(file.parent().context("a folder")?)?;
        std::fs::write(&file, text)?;
        println!("golden: wrote {FILE}; look at the difference, then commit it");
        return Ok(0);
    }
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    if known == text {
        return Ok(0);
    }
    let found = root().join("target/heap_fast_path.txt");
    std::fs::write(&found, text)?;
    // Exit code 1 of diff: they differ.
    Command::new("diff").arg("-u").args([&file, &found]).status()?;
    println!(
        "golden: the heap's fast path is not the one in {FILE} (- known, + found).\n\
         If that is meant, or the toolchain is new: `make golden UPDATE=1`, and commit the file."
    );
    Ok(1)
}

fn summary(path: &FastPath) -> String {
    let Counts {
        branches,
        loads,
        stores,
        updates,
    } = path.counts;
    format!(
        "{} instructions ({branches} branches, {loads} loads, {stores} stores, {updates} updates in memory)",
        path.code.len()
    )
}

/// The symbol of a function of the allocator's, whose mangled name depends on the compiler.
fn symbol(object: &object::File<'_>, function: &str) -> Result<String> {
    let ends = format!("::{function}");
    let mut names = object.symbols().filter_map(|s| s.name().ok());
    names
        .find(|symbol| *symbol == function || listing::name(symbol).ends_with(&ends))
        .map(str::to_string)
        .with_context(|| format!("no symbol {function}"))
}

fn what_is_at(object: &object::File<'_>, at: u64) -> Option<String> {
    let mut symbols = object.symbols();
    let symbol = symbols.find(|s| (s.address()..s.address() + s.size()).contains(&at))?;
    let name = listing::name(symbol.name().ok()?);
    Some(match at - symbol.address() {
        0 => name,
        offset => format!("{name} + {offset:#x}"),
    })
}

fn disassemble(elf: &Path, symbol: &str) -> Result<String> {
    let out = Command::new(toolchain::llvm("llvm-objdump")?)
        .args(["--disassemble", "--no-show-raw-insn", "--x86-asm-syntax=intel"])
        .arg(format!("--disassemble-symbols={symbol}"))
        .arg(elf)
        .output()
        .context("llvm-objdump")?;
    if !out.status.success() {
        bail!("llvm-objdump failed: {}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(String::from_utf8(out.stdout)?)
}
