//! Words of the kernel command line that the host program and the test harness agree on.
//!
//! The command line is `key=value` words separated by spaces or commas, so values hold neither. Lists of
//! names are joined with [`LIST`].

/// Separates the names in a list value.
pub const LIST: char = '|';
/// `test=a|b`: run the tests whose names contain (or, with [`EXACT`], are) one of these.
pub const FILTER: &str = "test";
/// `test_skip=a|b`: leave these out.
pub const SKIP: &str = "test_skip";
/// `test_exact=1`: names must match whole.
pub const EXACT: &str = "test_exact";
/// `test_ignored=only` or `all`: run ignored tests too.
pub const IGNORED: &str = "test_ignored";
/// `test_list=1`: list, do not run.
pub const LIST_ONLY: &str = "test_list";
/// `test_from=K`: begin with the K-th of the selected tests; the ones before ran in an earlier boot.
pub const FROM: &str = "test_from";
/// `seed=N`: all randomness of the run.
pub const SEED: &str = "seed";
/// `det=1`: the machine is deterministic; time is virtual.
pub const DET: &str = "det";

/// Does the list value `list` select `name`?
///
/// ```
/// use burrow_proto::options::selects;
/// assert!(selects("close|nil", "chan::close_wakes_all", false));
/// assert!(!selects("close", "chan::close_wakes_all", true));
/// ```
pub fn selects(list: &str, name: &str, exact: bool) -> bool {
    list.split(LIST)
        .filter(|word| !word.is_empty())
        .any(|word| if exact { word == name } else { name.contains(word) })
}
