//! Options from the kernel command line: `key=value` words between spaces or commas.
//!
//! `-append "schedtrace=1000,chaos=7 quiet"`, or the fw_cfg file `opt/burrow/cmdline`. A word without `=` has
//! the value `1`. Of two equal keys the later wins, so a user's words can follow a tool's. There are few
//! words and they are asked for at start-up: a scan each time, no table.
#![forbid(unsafe_code)]

/// The value of `key` in `line`.
///
/// ```
/// use burrow::opts::find;
/// assert_eq!(find("chaos=7 quiet,chaos=8", "chaos"), Some("8"));
/// assert_eq!(find("chaos=7 quiet", "quiet"), Some("1"));
/// ```
pub fn find<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split([' ', ',', '\t', '\n'])
        .rev()
        .filter(|w| !w.is_empty())
        .find_map(|word| {
            let (k, v) = word.split_once('=').unwrap_or((word, "1"));
            (k == key).then_some(v)
        })
}

/// A list value: what follows `key=`, up to a space or the next `key=value`: `run=tour,exit seed=7` gives `tour`
/// and `exit`. `|` separates as well, for a list that a tool joined.
///
/// ```
/// let words: Vec<_> = burrow::opts::list_in("run=tour,exit seed=7", "run").collect();
/// assert_eq!(words, ["tour", "exit"]);
/// ```
pub fn list_in<'a>(line: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let words = line.split([' ', '\t', '\n']).rev().find_map(|word| {
        word.match_indices(key).find_map(|(at, _)| {
            let starts_a_pair = at == 0 || word.as_bytes()[at - 1] == b',';
            word[at + key.len()..].strip_prefix('=').filter(|_| starts_a_pair)
        })
    });
    words
        .unwrap_or("")
        .split(',')
        .take_while(|item| !item.contains('='))
        .flat_map(|item| item.split('|'))
        .filter(|item| !item.is_empty())
}

/// A number: decimal, or hexadecimal after `0x`.
///
/// ```
/// use burrow::opts::number;
/// assert_eq!((number("42"), number("0xff"), number("many")), (Some(42), Some(255), None));
/// ```
pub fn number(v: &str) -> Option<u64> {
    match v.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => v.parse().ok(),
    }
}

/// A number of bytes: a number, then nothing, `K`, `M` or `G`. `None` if it is none or does not fit.
///
/// ```
/// use burrow::opts::bytes;
/// assert_eq!((bytes("8M"), bytes("1T")), (Some(8 << 20), None));
/// ```
pub fn bytes(v: &str) -> Option<u64> {
    let (digits, shift) = match v.as_bytes().last()? {
        b'K' | b'k' => (&v[..v.len() - 1], 10),
        b'M' | b'm' => (&v[..v.len() - 1], 20),
        b'G' | b'g' => (&v[..v.len() - 1], 30),
        _ => (v, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

/// The whole line; empty before the boot information is there, and on the host.
///
/// ```
/// burrow::println!("booted with {:?}", burrow::opts::line());
/// assert_eq!(burrow::opts::find(burrow::opts::line(), "nobody"), None);
/// ```
pub fn line() -> &'static str {
    #[cfg(target_os = "none")]
    return crate::arch::x86_64::bootinfo::try_get().map_or("", |i| i.cmdline);
    #[cfg(not(target_os = "none"))]
    return "";
}

/// The value of an option: `get("chaos") == Some("7")`.
///
/// ```
/// assert_eq!(burrow::opts::get("no.such.option").unwrap_or("default"), "default");
/// ```
pub fn get(key: &str) -> Option<&'static str> {
    find(line(), key)
}

/// The items of a list option: `run=tour,exit`.
///
/// ```
/// assert_eq!(burrow::opts::list("no.such.option").count(), 0);
/// ```
pub fn list(key: &'static str) -> impl Iterator<Item = &'static str> {
    list_in(line(), key)
}

/// The value of a numeric option; `None` also if it is no number.
///
/// ```
/// assert_eq!(burrow::opts::get_u64("no.such.option").unwrap_or(4), 4);
/// ```
pub fn get_u64(key: &str) -> Option<u64> {
    get(key).and_then(number)
}

/// Is the option given and not `0`?
///
/// ```
/// assert!(!burrow::opts::flag("no.such.option"));
/// ```
pub fn flag(key: &str) -> bool {
    get(key).is_some_and(|v| v != "0")
}

#[cfg(test)]
mod tests {
    extern crate alloc;
    use super::*;

    #[test]
    fn words_values_and_the_last_one_wins() {
        let line = " schedtrace=1000,chaos=7  quiet test=a::b=c,chaos=8,,";
        assert_eq!(find(line, "schedtrace"), Some("1000"));
        assert_eq!(find(line, "chaos"), Some("8"));
        assert_eq!(find(line, "quiet"), Some("1"));
        assert_eq!(find(line, "test"), Some("a::b=c"));
        assert_eq!(find(line, "schedtrac"), None);
        assert_eq!(find("", ""), None);
    }

    #[test]
    fn lists_end_at_a_space_or_at_the_next_pair() {
        let list = |line: &'static str| list_in(line, "run").collect::<alloc::vec::Vec<_>>();
        assert_eq!(list("run=tour,exit"), ["tour", "exit"]);
        assert_eq!(list("seed=7,run=tour,exit,chaos=1 quiet"), ["tour", "exit"]);
        assert_eq!(list("run=a|b quiet"), ["a", "b"]);
        assert_eq!(list("norun=a rerun=b,run=,c"), ["c"]);
        assert_eq!(list("run"), [""; 0]);
        assert_eq!(list(""), [""; 0]);
    }

    #[test]
    fn numbers() {
        assert_eq!(number("42"), Some(42));
        assert_eq!(number("0xff"), Some(255));
        assert_eq!(number("-1"), None);
        assert_eq!(number("0x"), None);
    }

    #[test]
    fn numbers_of_bytes() {
        assert_eq!(bytes("4096"), Some(4096));
        assert_eq!(bytes("0x10k"), Some(16 << 10));
        assert_eq!(bytes("8M"), Some(8 << 20));
        assert_eq!(bytes("1G"), Some(1 << 30));
        for bad in [
            "",
            "K",
            "-1M",
            "1T",
            "1.5M",
            "8MB",
            "é",
            "99999999999999999999",
            "17179869184G",
        ] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
