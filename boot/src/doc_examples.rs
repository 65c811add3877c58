//! `lint`, the part about documentation: every public item has an example.
//!
//! rustdoc tells, as JSON, what is reachable from outside and what its documentation says. The rule, item by item:
//!
//! - a type, trait, function or macro has an example of its own;
//! - a method or a trait's function has one of its own, too; only a getter (it takes `self` and nothing else) may
//!   leave it to the example of its type, which must then call it by name;
//! - fields, variants, constants, type aliases and trait implementations need none;
//! - what is `#[doc(hidden)]`, by itself or by the module through which alone it is reached, is nobody's business;
//! - what another crate defines and this one passes on has an example here if it is a macro of ours ([`OURS`]).
//!
//! An example is a fenced block that is compiled: not ```` ```text ```` or ```` ```ignore ````. That it runs is not the
//! lint's part: rustdoc runs it on the host, `tests/build.rs` in the machine (docs/testing.md).
//!
//! Refused: `rustdoc::missing_doc_code_examples`, which asks for examples on fields, variants and what is hidden, and takes
//! one that is ignored; and a scanner of source text, which does not know what is reachable.

use std::{collections::HashSet, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use crate::{config::root, toolchain};

/// The packages with a public interface, where rustdoc leaves the JSON (below `target/`), and how many items are
/// public at least: a change of the format must not pass for a tree without faults.
const PACKAGES: &[(&str, &str, usize)] = &[
    ("burrow", "x86_64-burrow/doc/burrow.json", 400),
    ("burrow-proto", "x86_64-burrow/doc/burrow_proto.json", 5),
    ("burrow-macros", "doc/burrow_macros.json", 2),
];

/// Our crate whose macros `burrow` passes on.
const OURS: &str = "burrow_macros";

/// Items that cannot have an example that runs, and why.
const EXEMPT: &[(&str, &str)] = &[
    (
        "burrow::test_main",
        "a whole program: every file of tests/tests is one",
    ),
    (
        "burrow_macros::main",
        "needs `burrow`, which has the example where it passes this on",
    ),
    (
        "burrow_macros::test",
        "needs `burrow`, which has the example where it passes this on",
    ),
];

/// Checks our packages; returns how many items have no example.
pub(crate) fn check() -> Result<usize> {
    let mut wrong = 0;
    for &(package, json, at_least) in PACKAGES {
        let status = Command::new("cargo")
            .current_dir(root())
            .env("RUSTUP_TOOLCHAIN", toolchain::channel()?)
            .args(["rustdoc", "--quiet", "-p", package, "--"])
            .args(RUSTDOC)
            .args(["--cap-lints", "allow"])
            .status()
            .context("cannot start cargo")?;
        ensure!(status.success(), "cargo rustdoc -p {package} failed");
        let report = Report::read(&root().join("target").join(json))?;
        ensure!(
            report.items >= at_least,
            "rustdoc shows only {} public items of {package}: does {} still read its format?",
            report.items,
            file!()
        );
        for (file, line, path) in report.missing {
            println!("{file}:{line}: {path} has no example in its documentation");
            wrong += 1;
        }
    }
    Ok(wrong)
}

/// Hidden items as well: an item that a hidden module defines and a public one passes on would be left out with them.
const RUSTDOC: [&str; 5] = [
    "-Z",
    "unstable-options",
    "--output-format",
    "json",
    "--document-hidden-items",
];

/// What one crate's JSON says.
#[derive(Default)]
struct Report {
    /// Public items seen.
    items: usize,
    /// Those without example: file, line, path.
    missing: Vec<(String, u64, String)>,
}

impl Report {
    fn read(json: &Path) -> Result<Self> {
        let text = std::fs::read(json).with_context(|| format!("cannot read {}", json.display()))?;
        let doc: Value = serde_json::from_slice(&text).context("rustdoc's JSON")?;
        let mut walk = Walk {
            index: doc["index"].as_object().context("rustdoc's JSON has no index")?,
            seen: HashSet::new(),
            report: Self::default(),
        };
        let crate_ = walk.item(&doc["root"]).context("rustdoc's JSON has no root")?;
        walk.visit(crate_, "")?;
        walk.report.missing.sort();
        Ok(walk.report)
    }
}

struct Walk<'a> {
    index: &'a Map<String, Value>,
    /// Ids: an item may be reached by several paths.
    seen: HashSet<u64>,
    report: Report,
}

impl<'a> Walk<'a> {
    /// `None` for what another crate defines.
    fn item(&self, id: &Value) -> Option<&'a Value> {
        self.index.get(&id.as_u64()?.to_string())
    }

    fn items(&self, ids: &'a Value) -> impl Iterator<Item = &'a Value> + use<'a> {
        let index = self.index;
        ids.as_array()
            .into_iter()
            .flatten()
            .filter_map(|id| index.get(&id.as_u64()?.to_string()))
    }

    /// `up` is the path of the module around the item.
    fn visit(&mut self, item: &'a Value, up: &str) -> Result<()> {
        let (kind, inner) = kind(item)?;
        if hidden(item) || !item["id"].as_u64().is_some_and(|id| self.seen.insert(id)) {
            return Ok(());
        }
        // What passes an item on has its name inside.
        let name = item["name"]
            .as_str()
            .or(inner["name"].as_str())
            .unwrap_or_default();
        let path = if up.is_empty() {
            name.to_string()
        } else {
            format!("{up}::{name}")
        };
        match kind {
            "module" => {
                // The prelude last: everything in it has a name of its own.
                let (last, first): (Vec<_>, Vec<_>) = self
                    .items(&inner["items"])
                    .partition(|item| item["name"] == "prelude");
                for item in first.into_iter().chain(last) {
                    self.visit(item, &path)?;
                }
            }
            "use" => match self.item(&inner["id"]) {
                Some(item) => self.visit(item, up)?,
                None if inner["source"].as_str().is_some_and(|s| s.starts_with(OURS)) => {
                    self.judge(item, &path, false);
                }
                None => {}
            },
            "struct" | "enum" | "union" => {
                self.judge(item, &path, false);
                for block in self.items(&inner["impls"]) {
                    let (_, block) = kind_of(block, "impl")?;
                    if block["trait"].is_null() {
                        self.methods(&block["items"], item, &path, true)?;
                    }
                }
            }
            "trait" => {
                self.judge(item, &path, false);
                self.methods(&inner["items"], item, &path, false)?;
            }
            "function" | "macro" | "proc_macro" => self.judge(item, &path, false),
            "constant" | "static" | "type_alias" | "variant" => {}
            other => bail!("rustdoc's JSON has a {other:?} at {path}: is it to have an example?"),
        }
        Ok(())
    }

    /// The functions among `ids`, of the type or trait `owner`.
    fn methods(&mut self, ids: &'a Value, owner: &Value, path: &str, inherent: bool) -> Result<()> {
        for item in self.items(ids) {
            let (kind, inner) = kind(item)?;
            let public = !inherent || item["visibility"] == "public";
            if kind != "function" || !public || hidden(item) {
                continue;
            }
            let name = item["name"].as_str().unwrap_or_default();
            let path = format!("{path}::{name}");
            let shown = is_getter(inner) && calls(&examples(docs(owner)), name);
            self.judge(item, &path, shown);
        }
        Ok(())
    }

    /// Notes a public item; is it shown by another's example?
    fn judge(&mut self, item: &Value, path: &str, shown: bool) {
        self.report.items += 1;
        let exempt = EXEMPT.iter().any(|(name, _)| *name == path);
        if !exempt && !shown && examples(docs(item)).is_empty() {
            let span = &item["span"];
            self.report.missing.push((
                span["filename"].as_str().unwrap_or("?").to_string(),
                span["begin"][0].as_u64().unwrap_or(0),
                path.to_string(),
            ));
        }
    }
}

/// What kind of item it is, and the fields of that kind.
fn kind(item: &Value) -> Result<(&str, &Value)> {
    item["inner"]
        .as_object()
        .and_then(|inner| inner.iter().next())
        .map(|(kind, inner)| (kind.as_str(), inner))
        .context("rustdoc's JSON has an item of no kind")
}

fn kind_of<'a>(item: &'a Value, expected: &str) -> Result<(&'a str, &'a Value)> {
    let found = kind(item)?;
    ensure!(
        found.0 == expected,
        "rustdoc's JSON has a {} for a {expected}",
        found.0
    );
    Ok(found)
}

fn docs(item: &Value) -> &str {
    item["docs"].as_str().unwrap_or_default()
}

/// Is it `#[doc(hidden)]`?
fn hidden(item: &Value) -> bool {
    item["attrs"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|attribute| attribute.to_string().contains("doc(hidden)"))
}

/// Does the function take `self` and nothing else?
fn is_getter(function: &Value) -> bool {
    function["sig"]["inputs"]
        .as_array()
        .is_some_and(|inputs| inputs.len() == 1 && inputs[0][0] == "self")
}

/// The code that rustdoc compiles, of all fenced blocks.
fn examples(docs: &str) -> String {
    let mut code = String::new();
    let mut open: Option<bool> = None;
    for line in docs.lines() {
        match (line.trim_start().strip_prefix("```"), open) {
            (Some(kind), None) => open = Some(is_compiled(kind)),
            (Some(_), Some(_)) => open = None,
            (None, Some(true)) => {
                code.push_str(line);
                code.push('\n');
            }
            (None, _) => {}
        }
    }
    code
}

/// Does what stands behind a fence make its block an example? (`ignore-burrow`: not in the machine.) A comment in
/// parentheses may follow.
fn is_compiled(fence: &str) -> bool {
    let words = fence.split('(').next().unwrap_or_default();
    words
        .split([',', ' '])
        .filter(|word| !word.is_empty())
        .all(|word| {
            matches!(
                word,
                "rust" | "no_run" | "should_panic" | "compile_fail" | "ignore-burrow"
            )
        })
}

/// Does `code` call the method `name`?
fn calls(code: &str, name: &str) -> bool {
    [".", "::"].iter().any(|dot| {
        let call = format!("{dot}{name}");
        code.match_indices(&call).any(|(at, _)| {
            matches!(
                code[at + call.len()..].chars().next(),
                Some('(' | ':' | ')' | ',')
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `rustdoc` of the pinned toolchain says about a crate with this source.
    fn missing(name: &str, source: &str) -> Vec<String> {
        let folder = std::env::temp_dir().join(format!("burrow-lint-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("x.rs"), source).unwrap();
        let status = Command::new("rustdoc")
            .current_dir(&folder)
            .env("RUSTUP_TOOLCHAIN", toolchain::channel().unwrap())
            .args(["x.rs", "--edition=2024", "--crate-type=lib", "--out-dir=."])
            .args(RUSTDOC)
            .status()
            .unwrap();
        assert!(status.success());
        let report = Report::read(&folder.join("x.json")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        report.missing.into_iter().map(|(_, _, path)| path).collect()
    }

    #[test]
    fn items_without_example_are_found() {
        let source = "
            pub struct S;
            impl S {
                /// ```text
                /// S::no_code()
                /// ```
                pub fn no_code() {}
                fn private() {}
            }
            pub enum E { A }
            pub trait T { fn required(&self); }
            pub mod room { pub fn f() {} }
            mod inner { pub fn passed_on() {} pub fn not_passed_on() {} }
            pub use inner::passed_on;
            /// ```ignore
            /// ignored!()
            /// ```
            #[macro_export] macro_rules! ignored { () => {} }";
        let mut found = missing("without", source);
        found.sort();
        assert_eq!(
            found,
            [
                "x::E",
                "x::S",
                "x::S::no_code",
                "x::T",
                "x::T::required",
                "x::ignored",
                "x::passed_on",
                "x::room::f"
            ]
        );
    }

    #[test]
    fn a_getter_may_be_shown_by_its_type_and_nothing_else() {
        let source = "
            /// ```
            /// let s = x::S::new(1);
            /// assert_eq!(s.value(), 1);
            /// ```
            pub struct S(u32);
            impl S {
                pub fn new(n: u32) -> Self { Self(n) }
                pub fn value(&self) -> u32 { self.0 }
                pub fn val(&self) -> u32 { self.0 }
            }";
        assert_eq!(missing("getter", source), ["x::S::new", "x::S::val"]);
    }

    #[test]
    fn what_has_one_or_needs_none_is_not() {
        let source = "
            /// ```no_run
            /// x::f()
            /// ```
            pub fn f() {}
            #[doc(hidden)] pub fn internal() {}
            #[doc(hidden)] pub mod internals { pub fn f() {} }
            fn private() {}
            pub const C: u32 = 1;
            /// ```
            /// let _ = x::E::A.clone();
            /// ```
            #[derive(Clone)] pub enum E { A, B { field: u32 } }";
        assert!(missing("with", source).is_empty());
    }
}
