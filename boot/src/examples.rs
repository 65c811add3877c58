//! `examples`: builds and runs every program in examples/, as tests.
//!
//! An example passes if it ends with code 0. One that should end otherwise says so in its source:
//!
//! ```text
//! // expect: exit=2 says=all goroutines are asleep
//! ```
//! Several such lines: everything they say must appear.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    config::{Config, root},
    qemu::{self, Event, Guest},
    run::payload,
};

/// Seconds are usual; only a hang takes so long, on the slowest host.
const LIMIT: Duration = Duration::from_secs(400);

/// How an example should end.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    exit: i32,
    says: Vec<String>,
    opts: Vec<String>,
}

impl Expected {
    fn read(source: &str) -> Result<Expected> {
        let mut expected = Expected {
            exit: 0,
            says: Vec::new(),
            opts: Vec::new(),
        };
        for line in source
            .lines()
            .filter_map(|line| line.trim().strip_prefix("// expect: "))
        {
            let (line, says) = line.split_once("says=").unwrap_or((line, ""));
            if !says.is_empty() {
                expected.says.push(says.to_string());
            }
            for word in line.split_whitespace() {
                match word.split_once('=') {
                    Some(("exit", code)) => expected.exit = code.parse().context("expect: exit=CODE")?,
                    Some(("opts", opts)) => expected.opts.push(opts.to_string()),
                    _ => bail!("`// expect:` takes exit=CODE, opts=WORD and says=TEXT, not {word:?}"),
                }
            }
        }
        Ok(expected)
    }
}

/// Builds and runs all examples whose name contains one of `filters`.
pub(crate) fn examples(cfg: &Config, filters: &[String]) -> Result<i32> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("examples"))
        .map(|entries| {
            entries
                .flatten()
                .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".rs")?.to_string()))
        })
        .map(Iterator::collect)
        .unwrap_or_default();
    names.sort();
    names.retain(|name| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())));
    println!("\nrunning {} examples", names.len());
    // From the root of the tree: these are guest programs, the tree's configuration is wanted.
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--quiet", "-p", "burrow-tests", "--examples"])
        .current_dir(root());
    if !cargo.status().context("cannot start cargo")?.success() {
        bail!("the examples do not compile");
    }
    let begin = Instant::now();
    eprintln!("burrow-boot: {}", qemu::describe(cfg));
    let mut failures = 0;
    for name in &names {
        let source = std::fs::read_to_string(root().join(format!("examples/{name}.rs")))?;
        let elf = root().join(format!("target/x86_64-burrow/debug/examples/{name}"));
        let expected = Expected::read(&source).with_context(|| format!("examples/{name}.rs"))?;
        match one(cfg, &elf, &expected)? {
            None => println!("test examples::{name} ... ok"),
            Some((reason, output)) => {
                println!("test examples::{name} ... FAILED\n---- {name} ----\n{output}\n{name}: {reason}");
                failures += 1;
            }
        }
    }
    println!(
        "\ntest result: {}. {} passed; {failures} failed; 0 ignored; 0 measured; 0 filtered out; finished in {:.2}s\n",
        if failures == 0 { "ok" } else { "FAILED" },
        names.len() - failures,
        begin.elapsed().as_secs_f64()
    );
    Ok(if failures == 0 { 0 } else { 101 })
}

/// Runs one; what went wrong, and what it printed.
fn one(cfg: &Config, elf: &Path, expected: &Expected) -> Result<Option<(String, String)>> {
    let limit = cfg.timeout.unwrap_or(LIMIT);
    let mut guest = Guest::start(cfg, &payload(cfg, elf)?, &cfg.cmdline(&expected.opts))?;
    drop(guest.take_input());
    let mut output = Vec::new();
    loop {
        match guest.next(Some(guest.started + limit)) {
            Event::Text(bytes) => output.extend(bytes),
            Event::Machine(_) => {}
            Event::Timeout => {
                output.extend(guest.timed_out(limit));
                break;
            }
            Event::Ended => break,
        }
    }
    let output = String::from_utf8_lossy(&output).into_owned() + &guest.errors();
    let unsaid = expected.says.iter().find(|text| !output.contains(*text));
    let reason = match guest.seen.verdict() {
        Err(failure) => failure.to_string(),
        Ok(code) if code != expected.exit => format!("exit code {code}, expected {}", expected.exit),
        Ok(_) => match unsaid {
            Some(text) => format!("never said {text:?}"),
            None => return Ok(None),
        },
    };
    Ok(Some((reason, output)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_read_from_the_source() {
        let none = Expected::read("//! Hello.\nfn main() {}").unwrap();
        assert_eq!(
            none,
            Expected {
                exit: 0,
                says: vec![],
                opts: vec![]
            }
        );
        let some = Expected::read("// expect: exit=2 opts=a=b says=all goroutines are asleep").unwrap();
        assert_eq!(
            some,
            Expected {
                exit: 2,
                says: vec!["all goroutines are asleep".into()],
                opts: vec!["a=b".into()]
            }
        );
        assert!(Expected::read("// expect: exit").is_err());
    }
}
