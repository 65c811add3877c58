//! `lint`: the two house rules that no compiler lint checks.
//!
//! 1. Every spin executes `spin_loop()` (or halts): a loop that waits for another core by loading an atomic or trying
//!    a lock, and does nothing else, stalls deterministic QEMU runs for minutes without it.
//! 2. Unsafe code lives in the rooms of [`ROOMS`]; every other module says `#![forbid(unsafe_code)]`.
//!
//! Both read the source as text, which is crude and enough: a loop that is wrongly suspected gets a comment
//! `// not a spin: WHY` on its first line or the next.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::config::root;

/// Where unsafe code may be: path prefixes (STYLE.md 10).
const ROOMS: &[&str] = &[
    "kernel/src/arch/",
    "kernel/src/lock/",
    "kernel/src/mem/",
    "kernel/src/gc/",
    "kernel/src/panic/",
    "kernel/src/test/",
    "kernel/src/net/virtio",
    // Its timers and its commit step know the descriptor by address.
    "kernel/src/net/poll.rs",
    "kernel/src/net/alarm.rs",
    "kernel/src/net/mod.rs",
    // The compiler's counters, in a test program on the host.
    "kernel/src/net/coverage.rs",
    // A channel's buffer and its waiters on other goroutines' stacks; `handle` erases the element type.
    "kernel/src/chan/arm.rs",
    "kernel/src/chan/handle.rs",
    "kernel/src/chan/hchan.rs",
    "kernel/src/chan/leak.rs",
    "kernel/src/chan/select.rs",
    "kernel/src/chan/wait.rs",
    "kernel/src/chan/tests/mod.rs",
    "kernel/src/chan/tests/loom_models.rs",
    // The cells of locks and of what is made once, and sleepers linked from their stacks.
    "kernel/src/sync/mod.rs",
    "kernel/src/sync/atomic.rs",
    "kernel/src/sync/cycle.rs",
    "kernel/src/sync/lazy_lock.rs",
    "kernel/src/sync/mutex.rs",
    "kernel/src/sync/once_lock.rs",
    "kernel/src/sync/lock_api.rs",
    "kernel/src/sync/map/bag.rs",
    "kernel/src/sync/map/mod.rs",
    "kernel/src/sync/map/trie.rs",
    "kernel/src/sync/pool/mod.rs",
    "kernel/src/sync/pool/deque.rs",
    "kernel/src/sync/pool/slot.rs",
    "kernel/src/sync/rwlock.rs",
    "kernel/src/sync/sema.rs",
    "kernel/src/sync/sleepers.rs",
    "kernel/src/sync/tickets.rs",
    "kernel/src/sync/limit.rs",
    "kernel/src/sync/tests/mod.rs",
    "kernel/src/sync/tests/loom_cell.rs",
    "kernel/src/sync/tests/loom_models.rs",
    "kernel/src/sync/tests/loom_limits.rs",
    "kernel/src/time/tests.rs",
    // The scheduler: what owns a G's memory, switches stacks, or runs on g0 behind a goroutine's back.
    "kernel/src/sched/api.rs",
    "kernel/src/sched/dead.rs",
    "kernel/src/sched/dump.rs",
    "kernel/src/sched/events.rs",
    "kernel/src/sched/find.rs",
    "kernel/src/sched/irq_work.rs",
    "kernel/src/sched/g.rs",
    "kernel/src/sched/global.rs",
    "kernel/src/sched/host",
    "kernel/src/sched/join.rs",
    "kernel/src/sched/m.rs",
    "kernel/src/sched/p.rs",
    "kernel/src/sched/park",
    "kernel/src/sched/preempt",
    "kernel/src/sched/reclaimer.rs",
    "kernel/src/sched/scavenger.rs",
    "kernel/src/sched/scope.rs",
    "kernel/src/sched/spawn.rs",
    "kernel/src/sched/switch",
    "kernel/src/sched/syscall.rs",
    // The tree of contexts: children linked from their parents, and their timers.
    "kernel/src/context/deadline.rs",
    "kernel/src/context/ending.rs",
    "kernel/src/context/node.rs",
    // Timers are intrusive: a node lies on its sleeper's stack.
    "kernel/src/time/channel.rs",
    "kernel/src/time/frame.rs",
    "kernel/src/time/func.rs",
    "kernel/src/time/heap.rs",
    "kernel/src/time/timer.rs",
    "kernel/src/time/mod.rs",
    // Reads what parked goroutines left behind.
    "kernel/src/leak/census.rs",
    "kernel/src/leak/mod.rs",
    // Calls the program's `main` by its symbol.
    "kernel/src/boot.rs",
    // Declare modules that need unsafe; hold none themselves.
    "kernel/src/lib.rs",
    "kernel/src/chan/mod.rs",
    "kernel/src/context/mod.rs",
    "kernel/src/context/tests",
    "kernel/src/sched/mod.rs",
];

/// What waiting for somebody else looks like.
const WAITS: &[&str] = &[
    ".load(",
    "compare_exchange",
    "try_lock(",
    ".swap(",
    "read_volatile(",
];
/// What makes a wait polite, or not a wait at all.
const RELIEFS: &[&str] = &[
    "spin_loop",
    "hlt",
    "halt",
    "pause",
    "yield_now",
    "park",
    "sleep",
    "not a spin",
    ".await",
    "wait(",
    "recv(",
];

/// Checks the tree; returns how many places are wrong.
pub(crate) fn check() -> Result<usize> {
    let mut wrong = 0;
    for folder in ["kernel/src", "tests", "examples", "benches"] {
        for file in sources(&root().join(folder))? {
            let text = std::fs::read_to_string(&file)?;
            let name = file
                .strip_prefix(root())
                .unwrap_or(&file)
                .to_string_lossy()
                .into_owned();
            for line in spins(&text) {
                println!("{name}:{line}: a loop waits without spin_loop() (or `// not a spin: WHY`)");
                wrong += 1;
            }
            if folder == "kernel/src" && lacks_forbid(&name, &text) {
                println!("{name}:1: outside the unsafe rooms, but no #![forbid(unsafe_code)]");
                wrong += 1;
            }
        }
    }
    Ok(wrong)
}

/// The Rust files below a folder, in order.
pub(crate) fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn lacks_forbid(name: &str, text: &str) -> bool {
    !ROOMS.iter().any(|room| name.starts_with(room)) && !text.contains("#![forbid(unsafe_code)]")
}

/// Line numbers of loops that wait without relief.
fn spins(text: &str) -> Vec<usize> {
    let code = blank_comments(text);
    let mut found = Vec::new();
    for keyword in ["while ", "loop {"] {
        for (at, _) in code.match_indices(keyword) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"') {
                continue;
            }
            let Some((head, body, end)) = split_loop(&code[at..]) else {
                continue;
            };
            let whole = &code[at..at + end];
            let line_start = text[..at].rfind('\n').map_or(0, |i| i + 1);
            // To the end of the next line: rustfmt moves a comment behind the brace there.
            let line_end = text[at..]
                .match_indices('\n')
                .nth(1)
                .map_or(text.len(), |(i, _)| at + i);
            let commented = text[line_start..line_end].contains("not a spin");
            if !commented
                && waits(keyword, head, body)
                && !RELIEFS.iter().any(|relief| whole.contains(relief))
            {
                found.push(text[..at].matches('\n').count() + 1);
            }
        }
    }
    found.sort();
    found
}

/// Does the loop do nothing but wait?
fn waits(keyword: &str, head: &str, body: &str) -> bool {
    let has = |text: &str| WAITS.iter().any(|word| text.contains(word));
    let statements = body.matches(';').count();
    if keyword == "while " {
        // `while !flag.load(..) {}`: the condition waits and the body is as good as empty.
        has(head) && statements <= 1 && !body.contains('{')
    } else {
        // `loop { if flag.load(..) { break } }`, not a compare-exchange loop that retries at once after a change by
        // somebody else (those make progress for somebody and end).
        has(body) && statements <= 2 && !body.contains("compare_exchange_weak") && !body.contains("=> ")
    }
}

/// Splits `while HEAD { BODY }…` at its braces; also the length of the whole.
fn split_loop(code: &str) -> Option<(&str, &str, usize)> {
    let open = code.find('{')?;
    let mut depth = 0;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&code[..open], &code[open + 1..open + at], open + at + 1));
        }
    }
    None
}

/// Line comments become spaces, so that words in them do not count and offsets stay.
fn blank_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match line.find("//") {
            Some(at) => {
                out.push_str(&line[..at]);
                out.extend(line[at..].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }));
            }
            None => out.push_str(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_spins_are_found() {
        assert_eq!(spins("fn f() {\n    while !FLAG.load(Acquire) {}\n}\n"), [2]);
        assert_eq!(
            spins("fn f() {\n    loop { if FLAG.load(Acquire) { break; } }\n}\n"),
            [2]
        );
        assert_eq!(spins("while lock.try_lock().is_none() {}"), [1]);
        assert_eq!(spins("while x.load(R) { /* é */ n += 1; }"), [1]);
    }

    #[test]
    fn polite_loops_are_not() {
        assert!(spins("while !FLAG.load(Acquire) { core::hint::spin_loop(); }").is_empty());
        assert!(spins("while !FLAG.load(Acquire) {} // not a spin: one core").is_empty());
        assert!(spins("loop { let x = a.load(R); work(x); more(); again(); }").is_empty());
        assert!(spins("// while FLAG.load(Acquire) {}").is_empty());
        assert!(spins("while let Some(x) = queue.pop() { f(x); }").is_empty());
    }

    #[test]
    fn rooms() {
        assert!(lacks_forbid("kernel/src/chan/typed.rs", "fn f() {}"));
        assert!(!lacks_forbid("kernel/src/arch/x86_64/pvh.rs", ""));
        assert!(!lacks_forbid(
            "kernel/src/chan/typed.rs",
            "#![forbid(unsafe_code)]"
        ));
    }
}
