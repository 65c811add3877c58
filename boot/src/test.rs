//! `test ELF…`: runs a test image and reports the way libtest does.
//!
//! One boot runs as many tests as it survives. When it ends inside a test (hang, reset, crash, silent exit)
//! that test has failed with the name of what happened, and a new boot continues with the next one
//! (`test_from=K`), so one bad test never hides the others. What a test printed is shown when it fails, or
//! always with `--nocapture`.

use std::{
    ffi::OsString,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use burrow_proto::{Line, Unescaped};

use crate::{
    config::{Config, root},
    qemu::{self, Event, Guest, Payload},
    run::payload,
    selection::Selection,
};

/// Wall-clock time beyond a test's own limit before the guest counts as hung: the guest should notice first.
const GRACE: Duration = Duration::from_secs(60);
/// From the start of QEMU to the plan, and between tests.
const QUIET: Duration = Duration::from_secs(180);
/// Lines of the serial log shown with a failure: its beginning, where a dump has who failed, and its end.
const HEAD: usize = 40;
const TAIL: usize = 60;

/// The test that is running.
struct Running {
    name: String,
    limit: Duration,
    exit: Option<i32>,
    says: String,
    output: Vec<u8>,
}

/// Results so far.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) ignored: usize,
    /// Name, what happened, what it had printed.
    pub(crate) failures: Vec<(String, String, Vec<u8>)>,
    total: usize,
    run: usize,
    announced: bool,
    listed: usize,
    /// Everything the guest said, machine lines too.
    transcript: Vec<u8>,
}

impl Tally {
    /// Tests with a result; also the index of the next one.
    fn done(&self) -> usize {
        self.passed + self.ignored + self.failures.len()
    }
}

/// How one boot ended.
enum BootEnd {
    /// The harness finished.
    Finished,
    /// Some tests are left.
    Again,
    /// Outside any test; nothing more can be learnt.
    Broken(String),
}

/// Runs the tests of one image. The status is libtest's: 0 or 101.
pub(crate) fn test(cfg: &Config, elf: &Path, args: &[OsString]) -> Result<i32> {
    let selection = Selection::parse(args)?;
    let payload = payload(cfg, elf)?;
    let cfg = &Config {
        opts: image_opts(elf)
            .into_iter()
            .chain(cfg.opts.iter().cloned())
            .collect(),
        ..cfg.clone()
    };
    if !selection.list {
        eprintln!("burrow-boot: {}", qemu::describe(cfg));
    }
    // REPEAT=N: N runs must print the same, byte for byte (deterministic mode).
    let repeat: usize = std::env::var("REPEAT")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1);
    let mut first: Option<Vec<u8>> = None;
    for _ in 0..repeat.max(1) {
        let begin = Instant::now();
        let (mut tally, mut broken) = all_boots(cfg, &payload, &selection)?;
        match &first {
            None => first = Some(std::mem::take(&mut tally.transcript)),
            Some(first) => broken = broken.or_else(|| difference(first, &tally.transcript)),
        }
        let status = summary(&selection, &tally, broken, begin.elapsed());
        if status != 0 {
            return Ok(status);
        }
    }
    Ok(0)
}

/// Kernel options that an image needs: the words of a line `// opts: WORDS` among the first of its source,
/// tests/tests/NAME.rs. The user's own come after them.
fn image_opts(elf: &Path) -> Vec<String> {
    let stem = elf.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.rsplit_once('-').map_or(&*stem, |(name, _hash)| name);
    let source = root().join("tests/tests").join(format!("{name}.rs"));
    let text = std::fs::read_to_string(source).unwrap_or_default();
    let words = text
        .lines()
        .take(20)
        .find_map(|line| line.strip_prefix("// opts: "));
    words.unwrap_or("").split_whitespace().map(String::from).collect()
}

/// Where two runs that should be the same differ.
fn difference(first: &[u8], second: &[u8]) -> Option<String> {
    let (first, second) = (String::from_utf8_lossy(first), String::from_utf8_lossy(second));
    if first == second {
        return None;
    }
    let (mut a, mut b) = (first.lines(), second.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (a.next(), b.next()) {
            (a, b) if a == b && a.is_some() => {}
            (a, b) => {
                let (a, b) = (a.unwrap_or("[end]"), b.unwrap_or("[end]"));
                return Some(format!(
                    "not deterministic: line {number} of the serial log differs\n   first: {a}\n  second: {b}"
                ));
            }
        }
    }
}

/// As many boots as it takes to give every selected test a result.
fn all_boots(cfg: &Config, payload: &Payload, selection: &Selection) -> Result<(Tally, Option<String>)> {
    let mut tally = Tally::default();
    let mut broken = None;
    loop {
        let before = tally.done();
        match boot(cfg, payload, selection, &mut tally)? {
            BootEnd::Finished => break,
            BootEnd::Again if tally.done() >= tally.run => break,
            BootEnd::Again if tally.done() > before => {}
            BootEnd::Again => {
                broken = Some("no progress: the boot ended before any test did".to_string());
                break;
            }
            BootEnd::Broken(reason) => {
                broken = Some(reason);
                break;
            }
        }
    }
    Ok((tally, broken))
}

fn summary(selection: &Selection, tally: &Tally, broken: Option<String>, took: Duration) -> i32 {
    if selection.list {
        if let Some(reason) = broken {
            eprintln!("burrow-boot: {reason}");
            return 101;
        }
        println!("\n{} tests, 0 benchmarks", tally.listed);
        return 0;
    }
    let missing = tally.run.saturating_sub(tally.done());
    if !tally.failures.is_empty() {
        println!("\nfailures:\n");
        for (name, reason, output) in &tally.failures {
            println!("---- {name} ----");
            print_ends(output);
            println!("{name}: {reason}\n");
        }
        println!("\nfailures:");
        for (name, ..) in &tally.failures {
            println!("    {name}");
        }
    }
    if let Some(reason) = &broken {
        println!("\ntest run failed: {reason}; {missing} tests not run");
    }
    let failed = tally.failures.len() + usize::from(broken.is_some());
    let ok = failed == 0 && missing == 0;
    println!(
        "\ntest result: {}. {} passed; {failed} failed; {} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if ok { "ok" } else { "FAILED" },
        tally.passed,
        tally.ignored,
        tally.total.saturating_sub(tally.run),
        took.as_secs_f64()
    );
    if ok { 0 } else { 101 }
}

/// One boot, from the tests that have no result yet.
fn boot(cfg: &Config, payload: &Payload, selection: &Selection, tally: &mut Tally) -> Result<BootEnd> {
    let from = tally.done();
    let failed_before = tally.failures.len();
    let mut guest = Guest::start(cfg, payload, &cfg.cmdline(&selection.words(from)))?;
    drop(guest.take_input());
    let mut running: Option<Running> = None;
    let mut log: Vec<u8> = Vec::new();
    let mut ended = false;
    let quiet = cfg.timeout.unwrap_or(QUIET);
    let mut limit = quiet;
    let mut deadline = Instant::now() + limit;
    loop {
        match guest.next(Some(deadline)) {
            Event::Text(bytes) => {
                if selection.nocapture {
                    let mut out = std::io::stdout().lock();
                    let _ = out.write_all(&bytes).and_then(|()| out.flush());
                }
                log.extend(&bytes);
                tally.transcript.extend(&bytes);
                if let Some(test) = &mut running {
                    test.output.extend(bytes);
                }
            }
            Event::Machine(text) => {
                tally.transcript.extend(text.bytes().chain(*b"\n"));
                let Some(line) = Line::parse(&text) else {
                    log.extend(format!("[unreadable machine line: {text}]\n").bytes());
                    continue;
                };
                match line {
                    Line::Plan {
                        total,
                        run,
                        from: begins,
                    } => {
                        if begins != from {
                            let said = format!("the kernel begins with test {begins}, not {from}");
                            return Ok(BootEnd::Broken(said + ": it does not see its command line"));
                        }
                        if total == 0 {
                            let why =
                                "the image holds no tests: nothing was registered, or the linker lost it";
                            return Ok(BootEnd::Broken(why.to_string()));
                        }
                        (tally.total, tally.run) = (total, run);
                        if !tally.announced && !selection.list {
                            println!("\nrunning {run} test{}", if run == 1 { "" } else { "s" });
                            tally.announced = true;
                        }
                    }
                    Line::List { name } => {
                        println!("{name}: test");
                        tally.listed += 1;
                    }
                    Line::Start {
                        name,
                        limit_secs,
                        exit,
                        says,
                    } => {
                        // Under icount virtual time passes several times slower than ours when cores spin.
                        let slow = if cfg.det || cfg.icount { 20 } else { 1 };
                        let allowed = Duration::from_secs(limit_secs.into()) * slow + GRACE;
                        limit = cfg.timeout.unwrap_or(allowed);
                        running = Some(Running {
                            name: name.into(),
                            limit,
                            exit,
                            says: Unescaped(says).to_string(),
                            output: Vec::new(),
                        });
                    }
                    Line::Ok { name, micros } => {
                        running = None;
                        report(selection, name, &timed("ok", micros));
                        tally.passed += 1;
                    }
                    Line::Failed {
                        name,
                        micros,
                        message,
                    } => {
                        report(selection, name, &timed("FAILED", micros));
                        let output = running.take().map(|test| test.output).unwrap_or_default();
                        tally
                            .failures
                            .push((name.into(), Unescaped(message).to_string(), output));
                    }
                    Line::Ignored { name, reason } => {
                        let reason = Unescaped(reason).to_string();
                        let why = if reason.is_empty() {
                            String::new()
                        } else {
                            format!(", {reason}")
                        };
                        report(selection, name, &format!("ignored{why}"));
                        tally.ignored += 1;
                    }
                    Line::End { .. } => ended = true,
                    Line::Main | Line::Exit { .. } => {}
                }
                if running.is_none() {
                    limit = quiet;
                }
                deadline = Instant::now() + limit;
            }
            Event::Timeout => {
                let limit = running.as_ref().map_or(limit, |test| test.limit);
                let rest = guest.timed_out(limit);
                log.extend(&rest);
                if let Some(test) = &mut running {
                    test.output.extend(rest);
                }
                break;
            }
            Event::Ended => break,
        }
    }

    let verdict = guest.seen.verdict();
    if let Some(test) = running {
        // The boot ended inside a test: either that is what the test is about, or it is how the test failed.
        let failure = match (&verdict, test.exit) {
            (Ok(code), Some(wanted)) if *code == wanted => {
                let said = String::from_utf8_lossy(&test.output).contains(&test.says);
                if said {
                    None
                } else {
                    Some(format!(
                        "exit code {code} as expected, but never said {:?}",
                        test.says
                    ))
                }
            }
            (Ok(code), Some(wanted)) => {
                Some(format!("the program ended with code {code}, expected {wanted}"))
            }
            (Ok(code), None) => Some(match last_words(&test.output) {
                Some(words) => format!("{words} (the program ended with code {code})"),
                None => {
                    format!(
                        "exited early: the test started but not finished, the program ended with code {code}"
                    )
                }
            }),
            (Err(failure), _) => Some(format!("started but not finished: {failure}")),
        };
        match failure {
            None => {
                report(selection, &test.name, "ok");
                tally.passed += 1;
            }
            Some(reason) => {
                report(selection, &test.name, "FAILED");
                let output = [test.output, guest.errors().into_bytes()].concat();
                tally.failures.push((test.name, reason, output));
            }
        }
        return Ok(BootEnd::Again);
    }
    let failure = match verdict {
        Ok(code) if ended => {
            // The guest's own conclusion about this boot must be ours.
            let failed_here = tally.failures.len() > failed_before;
            match (code, failed_here) {
                (0, _) if tally.done() < tally.run => {
                    "the harness ended, yet tests have no result".to_string()
                }
                (0, false) | (1.., true) => return Ok(BootEnd::Finished),
                _ => format!(
                    "contradiction: failed tests: {failed_here}, yet the program ended with code {code}"
                ),
            }
        }
        Ok(_) if selection.list => return Ok(BootEnd::Finished),
        Ok(code) => format!("exited early: the harness did not finish, the program ended with code {code}"),
        Err(failure) => failure.to_string(),
    };
    println!("---- serial log (last lines) ----");
    print_ends(&log);
    let errors = guest.errors();
    if !errors.trim().is_empty() {
        println!("---- QEMU says ----\n{}", errors.trim_end());
    }
    Ok(BootEnd::Broken(failure))
}

/// The guest's own reason for its end: Go's `fatal error: …` or `panic: …` line.
fn last_words(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let mut lines = text.lines().rev();
    lines
        .find(|line| line.starts_with("fatal error: ") || line.starts_with("panic: "))
        .map(str::to_string)
}

fn timed(word: &str, micros: u64) -> String {
    if micros >= 1_000_000 {
        format!("{word} ({:.1}s)", micros as f64 / 1e6)
    } else {
        word.to_string()
    }
}

fn report(selection: &Selection, name: &str, result: &str) {
    if !selection.quiet || result.starts_with("FAILED") {
        println!("test {name} ... {result}");
    }
}

fn print_ends(log: &[u8]) {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().collect();
    let left_out = lines.len().saturating_sub(HEAD + TAIL);
    for (i, line) in lines.iter().enumerate() {
        if i < HEAD || i >= HEAD + left_out {
            println!("{line}");
        } else if i == HEAD {
            println!("[{left_out} lines left out]");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_found() {
        assert_eq!(difference(b"a\nb\n", b"a\nb\n"), None);
        let text = difference(b"a\nb\n", b"a\nc\n").unwrap();
        assert!(
            text.contains("line 2") && text.contains("first: b") && text.contains("second: c"),
            "{text}"
        );
        assert!(difference(b"a\n", b"a\nb\n").unwrap().contains("[end]"));
    }
}
