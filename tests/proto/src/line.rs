//! One machine line: printed by the guest with `Display`, read by the host with [`Line::parse`].

use core::fmt::{self, Display, Formatter};

use crate::Escaped;

/// A machine line without its mark and newline. Free text is unescaped for printing and still escaped after
/// parsing (see [`Unescaped`](crate::Unescaped)).
///
/// ```
/// use burrow_proto::Line;
/// let line = Line::Ok { name: "chan::fifo", micros: 12 };
/// let text = format!("{line}");
/// assert_eq!(text, "BURROW-TEST ok chan::fifo 12");
/// assert_eq!(Line::parse(&text), Some(line));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// `main` is about to run.
    Main,
    /// The image holds `total` tests, `run` of them are selected; this boot begins with number `from` of those.
    Plan { total: usize, run: usize, from: usize },
    /// A test exists.
    List { name: &'a str },
    /// A test starts; it may take `limit_secs`. With `exit`, it should end the whole program with that code
    /// after printing `says`.
    Start {
        name: &'a str,
        limit_secs: u32,
        exit: Option<i32>,
        says: &'a str,
    },
    /// A test passed.
    Ok { name: &'a str, micros: u64 },
    /// A test failed.
    Failed {
        name: &'a str,
        micros: u64,
        message: &'a str,
    },
    /// A test was selected but is marked `#[ignore]`.
    Ignored { name: &'a str, reason: &'a str },
    /// The harness is done.
    End {
        passed: usize,
        failed: usize,
        ignored: usize,
    },
    /// The program ends with this code.
    Exit { code: i32 },
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Line::Main => f.write_str("BURROW-MAIN"),
            Line::Plan { total, run, from } => write!(f, "BURROW-TEST plan {total} {run} {from}"),
            Line::List { name } => write!(f, "BURROW-TEST list {name}"),
            Line::Start {
                name,
                limit_secs,
                exit: None,
                says,
            } => {
                write!(f, "BURROW-TEST start {name} {limit_secs} - {}", Escaped(says))
            }
            Line::Start {
                name,
                limit_secs,
                exit: Some(code),
                says,
            } => {
                write!(
                    f,
                    "BURROW-TEST start {name} {limit_secs} {code} {}",
                    Escaped(says)
                )
            }
            Line::Ok { name, micros } => write!(f, "BURROW-TEST ok {name} {micros}"),
            Line::Failed {
                name,
                micros,
                message,
            } => {
                write!(f, "BURROW-TEST failed {name} {micros} {}", Escaped(message))
            }
            Line::Ignored { name, reason } => write!(f, "BURROW-TEST ignored {name} {}", Escaped(reason)),
            Line::End {
                passed,
                failed,
                ignored,
            } => {
                write!(f, "BURROW-TEST end {passed} {failed} {ignored}")
            }
            Line::Exit { code } => write!(f, "BURROW-EXIT {code}"),
        }
    }
}

impl<'a> Line<'a> {
    /// Reads a line; `None` if it does not follow the grammar.
    ///
    /// ```
    /// use burrow_proto::Line;
    /// assert_eq!(Line::parse("BURROW-EXIT 0"), Some(Line::Exit { code: 0 }));
    /// assert_eq!(Line::parse("hello"), None);
    /// ```
    pub fn parse(text: &'a str) -> Option<Line<'a>> {
        let text = text.trim_end_matches(['\r', '\n']);
        let mut words = text.splitn(3, ' ');
        match (words.next()?, words.next(), words.next().unwrap_or("")) {
            ("BURROW-MAIN", None, _) => Some(Line::Main),
            ("BURROW-EXIT", Some(code), "") => Some(Line::Exit {
                code: code.parse().ok()?,
            }),
            ("BURROW-TEST", Some(verb), rest) => Self::parse_test(verb, rest),
            _ => None,
        }
    }

    fn parse_test(verb: &str, rest: &'a str) -> Option<Line<'a>> {
        let mut words = rest.splitn(2, ' ');
        let first = words.next()?;
        let rest = words.next().unwrap_or("");
        // Splits `rest` into a word and the free text behind it.
        let word_text = |rest: &'a str| rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "plan" => {
                let (run, from) = word_text(rest);
                Some(Line::Plan {
                    total: first.parse().ok()?,
                    run: run.parse().ok()?,
                    from: from.parse().ok()?,
                })
            }
            "list" if !first.is_empty() && rest.is_empty() => Some(Line::List { name: first }),
            "start" => {
                let (limit, rest) = word_text(rest);
                let (exit, says) = word_text(rest);
                let exit = if exit == "-" {
                    None
                } else {
                    Some(exit.parse().ok()?)
                };
                Some(Line::Start {
                    name: first,
                    limit_secs: limit.parse().ok()?,
                    exit,
                    says,
                })
            }
            "ok" => Some(Line::Ok {
                name: first,
                micros: rest.parse().ok()?,
            }),
            "failed" => {
                let (micros, message) = word_text(rest);
                Some(Line::Failed {
                    name: first,
                    micros: micros.parse().ok()?,
                    message,
                })
            }
            "ignored" if !first.is_empty() => Some(Line::Ignored {
                name: first,
                reason: rest,
            }),
            "end" => {
                let (failed, ignored) = word_text(rest);
                Some(Line::End {
                    passed: first.parse().ok()?,
                    failed: failed.parse().ok()?,
                    ignored: ignored.parse().ok()?,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    #[test]
    fn every_line_survives_the_wire() {
        let lines = [
            Line::Main,
            Line::Plan {
                total: 9,
                run: 3,
                from: 1,
            },
            Line::List { name: "a::b" },
            Line::Start {
                name: "a::b",
                limit_secs: 60,
                exit: None,
                says: "",
            },
            Line::Start {
                name: "a::b",
                limit_secs: 60,
                exit: Some(2),
                says: "all goroutines are asleep",
            },
            Line::Ok {
                name: "a::b",
                micros: 0,
            },
            Line::Failed {
                name: "a::b",
                micros: 7,
                message: "left == right",
            },
            Line::Failed {
                name: "a::b",
                micros: 7,
                message: "",
            },
            Line::Ignored {
                name: "a::b",
                reason: "",
            },
            Line::Ignored {
                name: "a::b",
                reason: "too slow",
            },
            Line::End {
                passed: 1,
                failed: 2,
                ignored: 3,
            },
            Line::Exit { code: -1 },
        ];
        for line in lines {
            assert_eq!(Line::parse(&line.to_string()), Some(line), "{line}");
        }
    }

    #[test]
    fn free_text_stays_on_one_line() {
        let text = Line::Failed {
            name: "t",
            micros: 1,
            message: "a\nb \\ c\x1e",
        }
        .to_string();
        assert!(!text.contains('\n') && !text.contains('\x1e'));
        let Some(Line::Failed { message, .. }) = Line::parse(&text) else {
            panic!("{text}")
        };
        assert_eq!(crate::Unescaped(message).to_string(), "a\nb \\ c\x1e");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "BURROW-EXIT",
            "BURROW-EXIT x",
            "BURROW-TEST",
            "BURROW-TEST ok a",
            "BURROW-TEST plan 1",
            "BURROW-TEST start a",
            "BURROW-TEST end 1 2",
            "BURROW-MAIN x",
        ] {
            assert_eq!(Line::parse(text), None, "{text}");
        }
    }
}
