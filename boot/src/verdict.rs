//! Did the guest end the way it said it would?
//!
//! A run has an outcome only if exactly one `BURROW-EXIT n` line was printed *and* QEMU's own exit status
//! agrees with it. Everything else is a failure with a name; silence, a reset and a hang never pass.

use std::{fmt, time::Duration};

/// What was seen of one boot.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Codes of all `BURROW-EXIT` lines.
    pub(crate) exits: Vec<i32>,
    /// Whether the serial line carried any byte.
    pub(crate) printed: bool,
    /// The status of QEMU, `None` when a signal ended it.
    pub(crate) status: Option<i32>,
    /// Set when we ended QEMU because it took longer than this.
    pub(crate) timed_out: Option<Duration>,
}

/// Why a boot has no outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    Hang { secs: u64, printed: bool },
    TripleFault,
    PrintedNothing { status: i32 },
    ExitedEarly { status: i32 },
    ReportedTwice { codes: Vec<i32> },
    Contradiction { code: i32, status: i32 },
    QemuRefused,
    Killed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Hang { secs, printed: true } => write!(f, "hang (timeout after {secs}s)"),
            Failure::Hang { secs, printed: false } => {
                write!(f, "hang (timeout after {secs}s) and printed nothing")
            }
            Failure::TripleFault => f.write_str("triple fault or silent exit (QEMU status 0)"),
            Failure::PrintedNothing { status } => write!(f, "printed nothing (QEMU status {status})"),
            Failure::ExitedEarly { status } => {
                write!(f, "exited early: no BURROW-EXIT line (QEMU status {status})")
            }
            Failure::ReportedTwice { codes } => write!(f, "reported twice (BURROW-EXIT {codes:?})"),
            Failure::Contradiction { code, status } => {
                write!(
                    f,
                    "contradiction: the guest said BURROW-EXIT {code}, QEMU exited with {status}"
                )
            }
            Failure::QemuRefused => f.write_str("QEMU itself failed (status 1, see its message)"),
            Failure::Killed => f.write_str("QEMU was killed by a signal"),
        }
    }
}

impl Seen {
    /// The program's exit code, or why there is none.
    pub(crate) fn verdict(&self) -> Result<i32, Failure> {
        if let Some(after) = self.timed_out {
            return Err(Failure::Hang {
                secs: after.as_secs(),
                printed: self.printed,
            });
        }
        let Some(status) = self.status else {
            return Err(Failure::Killed);
        };
        match self.exits[..] {
            [code] if burrow_proto::code_agrees(status, code) => Ok(code),
            [code] => Err(Failure::Contradiction { code, status }),
            [] if status == 0 => Err(Failure::TripleFault),
            [] if status == 1 => Err(Failure::QemuRefused),
            [] if !self.printed => Err(Failure::PrintedNothing { status }),
            [] => Err(Failure::ExitedEarly { status }),
            _ => Err(Failure::ReportedTwice {
                codes: self.exits.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(exits: &[i32], printed: bool, status: i32) -> Result<i32, Failure> {
        Seen {
            exits: exits.to_vec(),
            printed,
            status: Some(status),
            timed_out: None,
        }
        .verdict()
    }

    #[test]
    fn agreement_is_an_outcome() {
        assert_eq!(seen(&[0], true, 33), Ok(0));
        assert_eq!(seen(&[1], true, 35), Ok(1));
        assert_eq!(seen(&[2], true, 37), Ok(2));
    }

    #[test]
    fn nothing_else_is() {
        assert_eq!(seen(&[], true, 0), Err(Failure::TripleFault));
        assert_eq!(seen(&[], false, 0), Err(Failure::TripleFault));
        assert_eq!(seen(&[], false, 33), Err(Failure::PrintedNothing { status: 33 }));
        assert_eq!(seen(&[], true, 33), Err(Failure::ExitedEarly { status: 33 }));
        assert_eq!(
            seen(&[0, 0], true, 33),
            Err(Failure::ReportedTwice { codes: vec![0, 0] })
        );
        assert_eq!(
            seen(&[0], true, 35),
            Err(Failure::Contradiction { code: 0, status: 35 })
        );
        assert_eq!(
            seen(&[0], true, 0),
            Err(Failure::Contradiction { code: 0, status: 0 })
        );
        assert_eq!(seen(&[], false, 1), Err(Failure::QemuRefused));
        let hang = Seen {
            timed_out: Some(Duration::from_secs(3)),
            exits: vec![0],
            ..Seen::default()
        };
        assert_eq!(
            hang.verdict(),
            Err(Failure::Hang {
                secs: 3,
                printed: false
            })
        );
    }
}
