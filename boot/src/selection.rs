//! Which tests: libtest's arguments, as words of the kernel command line.

use std::ffi::OsString;

use anyhow::{Result, bail};
use burrow_proto::options;

/// libtest's arguments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    ignored: Option<&'static str>,
    pub(crate) list: bool,
    pub(crate) nocapture: bool,
    pub(crate) quiet: bool,
}

impl Selection {
    pub(crate) fn parse(args: &[OsString]) -> Result<Selection> {
        let mut selection = Selection::default();
        let mut args = args.iter().map(|arg| arg.to_string_lossy().into_owned());
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--exact" => selection.exact = true,
                "--ignored" => selection.ignored = Some("only"),
                "--include-ignored" => selection.ignored = Some("all"),
                "--list" => selection.list = true,
                "--nocapture" | "--no-capture" | "--show-output" => selection.nocapture = true,
                "--quiet" | "-q" => selection.quiet = true,
                "--skip" => selection.skip.extend(args.next()),
                "--test" | "--bench" => {}
                // One virtual machine, one test at a time, plain text: nothing to choose.
                "--test-threads" | "--format" | "--color" | "-Z" | "--logfile" => drop(args.next()),
                flag if flag.starts_with("--") && flag.contains('=') => {}
                flag if flag.starts_with('-') => bail!("unknown test argument {flag}"),
                filter => selection.filters.push(filter.to_string()),
            }
        }
        for name in selection.filters.iter().chain(&selection.skip) {
            if name.contains([' ', ',', options::LIST]) {
                bail!("a filter holds no space, comma or bar: {name:?}");
            }
        }
        Ok(selection)
    }

    /// The words for the kernel command line.
    pub(crate) fn words(&self, from: usize) -> Vec<String> {
        let list = options::LIST.to_string();
        let mut words = Vec::new();
        let mut add = |key: &str, value: String| words.push(format!("{key}={value}"));
        if !self.filters.is_empty() {
            add(options::FILTER, self.filters.join(&list));
        }
        if !self.skip.is_empty() {
            add(options::SKIP, self.skip.join(&list));
        }
        if self.exact {
            add(options::EXACT, "1".into());
        }
        if let Some(ignored) = self.ignored {
            add(options::IGNORED, ignored.into());
        }
        if self.list {
            add(options::LIST_ONLY, "1".into());
        }
        if from > 0 {
            add(options::FROM, from.to_string());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(args: &[&str]) -> String {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        Selection::parse(&args).unwrap().words(0).join(" ")
    }

    #[test]
    fn arguments_of_libtest_become_words() {
        assert_eq!(words(&[]), "");
        assert_eq!(words(&["close", "nil", "--exact"]), "test=close|nil test_exact=1");
        assert_eq!(
            words(&["--ignored", "--skip", "slow", "--test-threads", "1"]),
            "test_skip=slow test_ignored=only"
        );
        assert!(Selection::parse(&["--frobnicate".into()]).is_err());
        assert!(Selection::parse(&["a b".into()]).is_err());
    }
}
