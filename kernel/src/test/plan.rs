//! Which tests run: the selection words of the kernel command line (`burrow_proto::options`).
#![forbid(unsafe_code)]

use burrow_proto::options::{self, selects};

use super::TestDesc;

/// What to do with tests marked `#[ignore]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    /// Report them as ignored.
    Skip,
    /// Run them and nothing else.
    Only,
    /// Run everything.
    Include,
}

/// The selection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    filter: Option<&'a str>,
    skip: &'a str,
    exact: bool,
    pub(crate) ignored: Ignored,
    pub(crate) list_only: bool,
    pub(crate) from: usize,
}

impl<'a> Plan<'a> {
    /// Reads the selection; `get` looks a key of the command line up.
    pub(crate) fn read(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let on = |key| get(key).is_some_and(|value| value != "0");
        Plan {
            filter: get(options::FILTER),
            skip: get(options::SKIP).unwrap_or(""),
            exact: on(options::EXACT),
            ignored: match get(options::IGNORED) {
                Some("only") => Ignored::Only,
                Some("all") => Ignored::Include,
                _ => Ignored::Skip,
            },
            list_only: on(options::LIST_ONLY),
            from: get(options::FROM).and_then(|text| text.parse().ok()).unwrap_or(0),
        }
    }

    /// Is `test` part of this run (if only to be reported as ignored)?
    pub(crate) fn selects(&self, test: &TestDesc) -> bool {
        self.filter
            .is_none_or(|list| selects(list, test.name, self.exact))
            && !selects(self.skip, test.name, self.exact)
            && (self.ignored != Ignored::Only || test.ignore.is_some())
    }

    /// Is a selected `test` reported as ignored instead of run?
    pub(crate) fn passes_over(&self, test: &TestDesc) -> bool {
        self.ignored == Ignored::Skip && test.ignore.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn test(name: &'static str, ignore: Option<&'static str>) -> TestDesc {
        TestDesc {
            name,
            file: "",
            line: 0,
            run: || (),
            should_panic: None,
            ignore,
            timeout_secs: 1,
            exit: None,
            says: "",
        }
    }

    static CLOSE: TestDesc = test("chan::close", None);
    static SLOW: TestDesc = test("stress::hour", Some("slow"));

    fn plan(line: &'static str) -> Plan<'static> {
        Plan::read(|key| {
            line.split(' ')
                .find_map(|word| word.split_once('=').filter(|(k, _)| *k == key))
                .map(|(_, value)| value)
        })
    }

    #[test]
    fn everything_is_selected_by_default_and_ignored_tests_passed_over() {
        let plan = plan("");
        assert!(plan.selects(&CLOSE) && plan.selects(&SLOW));
        assert!(!plan.passes_over(&CLOSE) && plan.passes_over(&SLOW));
        assert_eq!(plan.from, 0);
    }

    #[test]
    fn filters_combine_as_in_libtest() {
        assert!(plan("test=close|nil").selects(&CLOSE));
        assert!(!plan("test=close test_exact=1").selects(&CLOSE));
        assert!(plan("test=chan::close test_exact=1").selects(&CLOSE));
        assert!(!plan("test_skip=chan").selects(&CLOSE));
        assert!(!plan("test_ignored=only").selects(&CLOSE));
        assert!(plan("test_ignored=only").selects(&SLOW) && !plan("test_ignored=only").passes_over(&SLOW));
        assert!(!plan("test_ignored=all").passes_over(&SLOW));
        assert_eq!(plan("test_from=7").from, 7);
    }
}
