//! Options from the kernel command line: `key=value` words between spaces or commas.
//!
//! `-append "schedtrace=1000,chaos=7 quiet"`, or the fw_cfg file `opt/burrow/cmdline`. A word without `=` has
//! the value `1`. Of two equal keys the later wins, so a user's words can follow a tool's. There are few
//! words and they are asked for at start-up: a scan each time, no table.

/// The value of `key` in `line`.
pub fn find<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split([' ', ',', '\t', '\n'])
        .rev()
        .filter(|w| !w.is_empty())
        .find_map(|word| {
            let (k, v) = word.split_once('=').unwrap_or((word, "1"));
            (k == key).then_some(v)
        })
}

/// A number: decimal, or hexadecimal after `0x`.
pub fn number(v: &str) -> Option<u64> {
    match v.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => v.parse().ok(),
    }
}

/// The whole line; empty before the boot information is there, and on the host.
pub fn line() -> &'static str {
    #[cfg(target_os = "none")]
    return crate::arch::x86_64::bootinfo::try_get().map_or("", |i| i.cmdline);
    #[cfg(not(target_os = "none"))]
    return "";
}

/// The value of an option: `get("chaos") == Some("7")`.
pub fn get(key: &str) -> Option<&'static str> {
    find(line(), key)
}

/// The value of a numeric option; `None` also if it is no number.
pub fn get_u64(key: &str) -> Option<u64> {
    get(key).and_then(number)
}

/// Is the option given and not `0`?
pub fn flag(key: &str) -> bool {
    get(key).is_some_and(|v| v != "0")
}

#[cfg(test)]
mod tests {
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
    fn numbers() {
        assert_eq!(number("42"), Some(42));
        assert_eq!(number("0xff"), Some(255));
        assert_eq!(number("-1"), None);
        assert_eq!(number("0x"), None);
    }
}
