//! `ps`: a row for each goroutine.
//!
//! ```text
//!     ID  STATE     CORE  AGE      NAME      WAITS FOR        CREATED AT
//!      1  running   0     -        main      -                -
//!      5* waiting   -     2.4s     console   IO wait          kernel/src/console/input.rs:68
//! ```
//! `ps leaks`: those that will never go on, with the reason and the call stack.
//!
//! `*` marks the runtime's own. AGE is how long it has been waiting. The list is a snapshot: each row is true
//! for a moment, not all for the same one.
#![forbid(unsafe_code)]

use alloc::string::String;
use core::fmt;

use crate::{
    leak::leaked,
    sched::{
        dump::{GInfo, goroutines},
        num_goroutine,
    },
};

/// Rows that are shown; the rest is counted.
const MOST: usize = 60;

/// A duration in at most seven characters: `12µs`, `3.4ms`, `5.0s`, `7m12s`.
pub(super) struct Short(pub(super) u64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0;
        let text = match ns {
            0..1_000 => alloc::format!("{ns}ns"),
            1_000..1_000_000 => alloc::format!("{}µs", ns / 1_000),
            1_000_000..1_000_000_000 => alloc::format!("{}.{}ms", ns / 1_000_000, ns / 100_000 % 10),
            1_000_000_000..60_000_000_000 => {
                alloc::format!("{}.{}s", ns / 1_000_000_000, ns / 100_000_000 % 10)
            }
            _ => alloc::format!("{}m{:02}s", ns / 60_000_000_000, ns / 1_000_000_000 % 60),
        };
        f.pad(&text)
    }
}

/// Obeys `ps`.
pub(super) fn ps(args: &[&str]) -> Result<(), String> {
    match args {
        [] => table(),
        ["leaks"] => leaks(),
        [word, ..] => return Err(alloc::format!("ps: {word:?} is none of its words: leaks")),
    }
    Ok(())
}

fn leaks() {
    let all = leaked();
    for l in all.iter().take(MOST) {
        crate::println!("{l}");
        let stack = l.stack();
        // Without the first line, which says the same again.
        let frames = stack.split_once('\n').map_or("", |(_, frames)| frames);
        crate::print::raw(frames.as_bytes());
    }
    if all.len() > MOST {
        crate::println!("    ... and {} more", all.len() - MOST);
    }
    crate::println!("{} leaked", all.len());
}

fn table() {
    let mut all = goroutines(MOST);
    all.sort_by_key(|g| g.id);
    crate::println!(
        "{:>7}  {:<9} {:<5} {:<8} {:<12} {:<22} CREATED AT",
        "ID",
        "STATE",
        "CORE",
        "AGE",
        "NAME",
        "WAITS FOR"
    );
    for g in &all {
        row(g);
    }
    let more = num_goroutine().saturating_sub(all.len());
    if all.len() == MOST && more > 0 {
        crate::println!("    ... and {more} more");
    }
}

fn row(g: &GInfo) {
    let age = if g.reason.is_some() {
        alloc::format!("{}", Short(g.age_ns))
    } else {
        "-".into()
    };
    let core = g.core.map_or("-".into(), |c| alloc::format!("{c}"));
    let at = g
        .created_at
        .map_or("-".into(), |l| alloc::format!("{}:{}", l.file(), l.line()));
    let name = match g.name.as_str() {
        "" if g.id == 1 => "main",
        "" => "-",
        name => name,
    };
    crate::println!(
        "{:>7}{} {:<9} {:<5} {:<8} {:<12} {:<22} {at}",
        g.id,
        if g.system { '*' } else { ' ' },
        alloc::format!("{}", g.state),
        core,
        age,
        name,
        g.reason.map_or("-", |r| r.as_str()),
    );
}
