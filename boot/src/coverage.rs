//! `lint`, third rule: every test that `docs/coverage.md` names exists. A table of what is tested is worth something only as
//! long as renaming or deleting a test is noticed.
//!
//! Names are looked for as text, `fn NAME(`: a test that is there and never runs is the compiler's to notice (it warns of
//! functions that nobody uses).

use std::path::Path;

use anyhow::{Context, Result};

use crate::{config::root, lint};

/// Checks the tables; returns how many of their names stand for nothing.
pub(crate) fn check() -> Result<usize> {
    let page = root().join("docs/coverage.md");
    let text = std::fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let mut kernel = String::new();
    for file in lint::sources(&root().join("kernel/src"))? {
        kernel += &std::fs::read_to_string(file)?;
    }
    let mut wrong = 0;
    for (line, program, name) in names(&text) {
        if !exists(&root(), &kernel, program, name) {
            println!("docs/coverage.md:{line}: there is no {program}::{name}");
            wrong += 1;
        }
    }
    Ok(wrong)
}

/// What the rows of the tables name: line, program, test.
fn names(text: &str) -> Vec<(usize, &str, &str)> {
    let rows = text.lines().enumerate().filter(|(_, l)| l.starts_with("| "));
    rows.flat_map(|(i, l)| {
        // The first cell says what the row is about.
        let cells = l.splitn(3, '|').nth(2).unwrap_or_default();
        let quoted = cells.split('`').skip(1).step_by(2);
        quoted.map(move |q| {
            let (program, name) = q.split_once("::").unwrap_or(("", q));
            (i + 1, program, name)
        })
    })
    .collect()
}

fn exists(root: &Path, kernel: &str, program: &str, name: &str) -> bool {
    let has =
        |path: String, what: &str| std::fs::read_to_string(root.join(path)).is_ok_and(|t| t.contains(what));
    let function = format!("fn {name}(");
    match program {
        "host" => kernel.contains(&function),
        "example" => root.join(format!("examples/{name}.rs")).exists(),
        "compile_fail" => has(format!("kernel/src/{name}"), "```compile_fail"),
        _ => has(format!("tests/tests/{program}.rs"), &function),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_rows() {
        let text = "A `b::c` here.\n| `Mutex` | `sync::x`, `host::y` | – | `compile_fail::sync/z.rs` |\n";
        let expected = [
            (2, "sync", "x"),
            (2, "host", "y"),
            (2, "compile_fail", "sync/z.rs"),
        ];
        assert_eq!(names(text), expected);
    }

    #[test]
    fn what_is_not_there_is_noticed() {
        let there = |program, name| exists(&root(), "fn loom_it()", program, name);
        assert!(there("host", "loom_it") && there("sync", "mutex_excludes") && there("example", "hello"));
        assert!(there("compile_fail", "sync/pool/mod.rs"));
        for (program, name) in [
            ("host", "loom_i"),
            ("sync", "mutex_exclude"),
            ("nothing", "mutex_excludes"),
            ("example", "goodbye"),
            ("compile_fail", "lib.rs"),
            ("", "mutex_excludes"),
        ] {
            assert!(!there(program, name), "{program}::{name}");
        }
    }
}
