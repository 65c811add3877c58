//! Turns the examples in the kernel's documentation into guest tests, for the image `docs`.
//!
//! rustdoc runs doc examples on the host. Half of the kernel is not compiled there, and the other half has a host's
//! scheduler below it; so every example runs in the machine, too. Each block of the doc comments becomes one
//! `#[burrow::test]`, named for file and line. The fences mean what they mean to rustdoc: `no_run` is compiled only,
//! `ignore`, `ignore-burrow` (not in the machine) and other languages are left out, `should_panic` must panic; a line
//! that begins with `# ` is code that the documentation does not show.
//!
//! Refused: a second list of examples by hand (it would rot), and rustdoc itself with a runner in the guest (one boot
//! for each block).

use std::{env, fmt::Write, fs, path::Path};

fn main() {
    let kernel = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../kernel/src");
    let mut tests = String::new();
    for file in &all(&kernel) {
        let path = kernel.join(file);
        println!("cargo:rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for block in blocks(&text) {
            block.write(file, &mut tests);
        }
    }
    println!("cargo:rerun-if-changed=build.rs");
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("docs.rs");
    fs::write(out, tests).expect("OUT_DIR can be written");
}

/// The source files below `folder`, by name, relative to it.
fn all(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).unwrap_or_else(|e| panic!("{}: {e}", at.display())) {
            let path = entry.expect("a folder's entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|x| x == "rs") {
                found.push(path.strip_prefix(folder).expect("below it").display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// One example.
struct Block {
    /// Of its opening fence, from 1.
    line: usize,
    /// What stands behind the fence.
    kind: String,
    code: String,
}

impl Block {
    fn write(&self, file: &str, out: &mut String) {
        let kind = self.kind.as_str();
        if !matches!(kind, "" | "rust" | "no_run" | "should_panic") {
            return;
        }
        let name = format!(
            "{}_line_{}",
            file.trim_end_matches(".rs").replace('/', "_"),
            self.line
        );
        let attributes = match kind {
            "no_run" => "#[expect(dead_code, reason = \"compiled, not run\")]",
            "should_panic" => "#[burrow::test]\n#[should_panic]",
            _ => "#[burrow::test]",
        };
        write!(
            out,
            "/// {file}:{}\n{attributes}\nfn {name}() {{\n{}}}\n\n",
            self.line, self.code
        )
        .expect("a String takes everything");
    }
}

/// The fenced blocks of a file's doc comments.
fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (i, line) in text.lines().enumerate() {
        let Some(doc) = doc_of(line) else {
            assert!(
                open.is_none(),
                "line {}: a doc comment ends inside an example",
                i + 1
            );
            continue;
        };
        match (doc.trim_start().strip_prefix("```"), &mut open) {
            (Some(kind), None) => {
                open = Some(Block {
                    line: i + 1,
                    kind: kind.trim().to_string(),
                    code: String::new(),
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => {
                let code = doc
                    .strip_prefix("# ")
                    .unwrap_or(if doc == "#" { "" } else { doc });
                block.code.push_str(code);
                block.code.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// The text of a doc comment's line.
fn doc_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
    Some(doc.strip_prefix(' ').unwrap_or(doc))
}
