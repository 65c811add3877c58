//! `soak N`: the stress tests again and again, each run with another seed and number of cores.
//!
//! Every run appends a line to docs/soak.log, good or bad, so that the log can be committed as evidence:
//! `UTC seed=… smp=… result=ok|FAILED passed=… failed=… secs=… commit=…`. A failed run's whole output is kept under
//! target/soak/.

use std::{
    io::Write,
    process::Command,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};

use crate::config::{fresh_seed, root};

const CORES: [u32; 4] = [4, 1, 2, 8];

/// Runs `count` rounds; `minutes` of stress in each if given. Status 101 if any failed.
pub(crate) fn soak(count: usize, minutes: Option<f64>) -> Result<i32> {
    let log_path = root().join("docs/soak.log");
    std::fs::create_dir_all(root().join("docs"))?;
    let mut failures = 0;
    for round in 0..count {
        let (seed, smp) = (fresh_seed(), CORES[round % CORES.len()]);
        let mut opts = std::env::var("OPTS").unwrap_or_default();
        if let Some(minutes) = minutes {
            opts += &format!(" soak_secs={}", (minutes * 60.0) as u64);
        }
        let begin = Instant::now();
        // From the root of the tree: this is a guest program, the tree's configuration is wanted.
        let mut cargo = Command::new("cargo");
        cargo
            .args(["test", "--quiet", "-p", "burrow-tests", "--test", "stress"])
            .current_dir(root());
        cargo
            .env("SEED", seed.to_string())
            .env("SMP", smp.to_string())
            .env("OPTS", opts.trim());
        let output = cargo.output().context("cannot start cargo")?;
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let (passed, failed) = tally(&text);
        let ok = output.status.success() && passed > 0 && failed == 0;
        let result = if ok { "ok" } else { "FAILED" };
        let line = format!(
            "{} seed={seed} smp={smp} result={result} passed={passed} failed={failed} secs={} commit={}",
            utc(),
            begin.elapsed().as_secs(),
            commit()
        );
        println!("[{}/{count}] {line}", round + 1);
        writeln!(
            std::fs::File::options()
                .create(true)
                .append(true)
                .open(&log_path)?,
            "{line}"
        )?;
        if !ok {
            failures += 1;
            let folder = root().join("target/soak");
            std::fs::create_dir_all(&folder)?;
            let kept = folder.join(format!("seed{seed}-smp{smp}.log"));
            std::fs::write(&kept, &text)?;
            println!("{text}\nsoak: kept as {}", kept.display());
        }
    }
    println!("soak: {} of {count} runs ok", count - failures);
    Ok(if failures == 0 { 0 } else { 101 })
}

/// Sums "N passed; M failed" over all result lines.
fn tally(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        let words: Vec<&str> = line.split([' ', ';']).collect();
        let before = |word: &str| {
            let at = words.iter().position(|w| *w == word)?;
            words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
        };
        sum.0 += before("passed").unwrap_or(0);
        sum.1 += before("failed").unwrap_or(0);
    }
    sum
}

fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(root()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
    // The log itself changes with every run; it does not make the tree another one.
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).unwrap_or_default();
    let dirty = changed.lines().any(|line| !line.ends_with("docs/soak.log"));
    head + if dirty { "-dirty" } else { "" }
}

/// Now, as 2026-11-21T05:45:00Z.
fn utc() -> String {
    let secs = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    format_utc(secs)
}

fn format_utc(secs: u64) -> String {
    let (days, rest) = (secs / 86_400, secs % 86_400);
    // Civil date from days since 1970-03-01-based eras (proleptic Gregorian calendar).
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(format_utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(format_utc(1_795_239_296), "2026-11-21T05:34:56Z");
    }

    #[test]
    fn results_are_summed() {
        let text = "x\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\ntest result: FAILED. 2 passed; 4 failed; 0 ig";
        assert_eq!(tally(text), (5, 4));
    }
}
