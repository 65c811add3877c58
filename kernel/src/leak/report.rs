//! What a program sees of it: [`leaked`] and its [`Leak`]s.
#![forbid(unsafe_code)]

use alloc::{string::String, vec::Vec};
use core::{fmt, panic::Location, sync::atomic::Ordering};

use super::{
    census::{self, Census},
    proof::{self, Arm, Need},
};
use crate::{
    sched::{self, GPtr, WaitReason, dump, g::FLAG_LEAKED},
    time::Duration,
};

/// Why a goroutine waits for good.
///
/// ```
/// use burrow::runtime::LeakCause;
/// let why = LeakCause::NoHandle { handles: 1 };
/// assert_eq!(why.to_string(), "it has the only handle of the channel");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LeakCause {
    /// What it waits for cannot happen: a nil channel, or `select! {}`.
    Never,
    /// All handles of the channel are borrowed by leaked goroutines that wait for it.
    NoHandle {
        /// How many there are.
        handles: usize,
    },
    /// It receives, and no handle is left that could send or close.
    NoSender {
        /// How many there are that can receive.
        handles: usize,
    },
    /// A `select!` with this many operations, of which each is one of the above.
    NoCase {
        /// How many there are.
        cases: usize,
    },
    /// The lock is held by this goroutine, which has ended and left its guard behind.
    HolderEnded(u64),
    /// The lock, or `Once`, is held by this goroutine, which is leaked (or is the waiter itself).
    HolderLeaked(u64),
    /// It joins this goroutine, which is leaked.
    Joins(u64),
    /// What it waits for lies on its own stack, and nobody borrows from there.
    Private,
}

impl fmt::Display for LeakCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeakCause::Never => f.write_str("what it waits for cannot happen"),
            LeakCause::NoHandle { handles: 1 } => f.write_str("it has the only handle of the channel"),
            LeakCause::NoHandle { handles } => {
                write!(
                    f,
                    "all {handles} handles of the channel are with goroutines that wait for it"
                )
            }
            LeakCause::NoSender { handles } => write!(
                f,
                "nobody can send or close: all {handles} handles of the channel only receive"
            ),
            LeakCause::NoCase { cases } => {
                write!(f, "nobody else can get at the channels of its {cases} cases")
            }
            LeakCause::HolderEnded(g) => write!(f, "goroutine {g} has ended without unlocking"),
            LeakCause::HolderLeaked(g) => write!(f, "held by goroutine {g}, which is leaked"),
            LeakCause::Joins(g) => write!(f, "joins goroutine {g}, which is leaked"),
            LeakCause::Private => f.write_str("nobody else can reach what it waits for"),
        }
    }
}

/// A goroutine that will never go on. Displays as one line.
///
/// ```
/// use burrow::{runtime::{self, LeakCause, WaitReason}, time::Duration};
/// let nil = burrow::Chan::<u32>::nil();
/// let h = burrow::Builder::new().name("lost").spawn(move || _ = nil.recv()).unwrap();
/// let leak = loop {
///     match runtime::leaked().into_iter().find(|l| l.goid() == h.id()) {
///         Some(leak) => break leak,
///         None => burrow::yield_now(), // not there yet
///     }
/// };
/// assert_eq!((leak.name(), leak.reason()), ("lost", WaitReason::ChanRecvNil));
/// assert_eq!(leak.cause(), LeakCause::Never);
/// assert!(leak.waiting() < Duration::from_secs(3600) && leak.created_at().is_some());
/// burrow::println!("{leak}\n{}", leak.stack());
/// ```
#[derive(Clone, Debug)]
pub struct Leak {
    g: GPtr,
    name: String,
    since: u64,
    cause: LeakCause,
}

impl Leak {
    /// Its number.
    pub fn goid(&self) -> u64 {
        self.g.id()
    }

    /// Its name; empty if it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it waits in.
    pub fn reason(&self) -> WaitReason {
        self.g.wait_reason()
    }

    /// For how long it has been waiting.
    pub fn waiting(&self) -> Duration {
        Duration::from_nanos(sched::now_ns().saturating_sub(self.since))
    }

    /// Where it was started; `None` for the main goroutine.
    pub fn created_at(&self) -> Option<&'static Location<'static>> {
        self.g.created_at.get()
    }

    /// How it is known that it will never go on.
    pub fn cause(&self) -> LeakCause {
        self.cause
    }

    /// Its call stack, as in dumps. Symbols make it slow.
    pub fn stack(&self) -> String {
        let mut text = String::new();
        // A String takes everything. Its stack stays as it is for ever.
        let _ = dump::write_g(&mut text, self.g);
        text
    }
}

impl fmt::Display for Leak {
    /// `goroutine 12 "name" [chan send (leaked), 3 minutes]: why, created at file:line`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "goroutine {} ", self.goid())?;
        if !self.name.is_empty() {
            write!(f, "{:?} ", self.name)?;
        }
        write!(f, "[{} (leaked)", self.reason())?;
        let minutes = self.waiting().as_secs() / 60;
        if minutes > 0 {
            write!(f, ", {minutes} minutes")?;
        }
        write!(f, "]: {}", self.cause)?;
        match self.created_at() {
            Some(at) => write!(f, ", created at {}:{}", at.file(), at.line()),
            None => Ok(()),
        }
    }
}

/// Goroutines that wait for what nobody else can bring about any more, by number.
///
/// Never reports one that might still go on; may miss some (a handle that lies on the heap counts as used by somebody; who
/// holds a mutex is known in debug builds only). The head of `leak` in the source has the rules. Stops the world for one
/// pass over all goroutines. From then on dumps mark them with `(leaked)`.
///
/// ```
/// use burrow::{runtime, time::Duration};
/// let answer = burrow::chan::<u32>(0); // a buffer of 1 would mend it
/// let given_up = burrow::chan::<()>(0);
/// let (late, too_late) = (answer.clone(), given_up.receiver());
/// burrow::go(move || {
///     too_late.recv(); // so long it takes
///     late.send(42); // nobody is left to receive it
/// });
/// assert!(answer.recv_timeout(Duration::from_millis(1)).is_err());
/// drop(answer);
/// given_up.close();
/// while runtime::leaked().is_empty() {
///     burrow::yield_now();
/// }
/// ```
pub fn leaked() -> Vec<Leak> {
    let mut census = census::take();
    let stuck = proof::stuck(&census.nodes, &mut census.arms);
    census.arms.sort_unstable_by_key(|a| a.who);
    let mut alive: Vec<u64> = census.nodes.iter().map(|n| n.id).collect();
    alive.sort_unstable();
    let mut leaks: Vec<Leak> = (0..stuck.len())
        .filter(|&i| stuck[i])
        .map(|i| census.leak(i, &alive))
        .collect();
    leaks.sort_unstable_by_key(Leak::goid);
    leaks
}

impl Census {
    fn leak(&self, i: usize, alive: &[u64]) -> Leak {
        let g = self.met[i].g;
        g.flags.fetch_or(FLAG_LEAKED, Ordering::Relaxed);
        Leak {
            g,
            name: g.name.with(|n| String::from(n)),
            since: g.wait_since.load(Ordering::Relaxed),
            cause: self.cause(i, alive),
        }
    }

    /// The arms are sorted by their goroutine, and `alive` are all numbers.
    fn cause(&self, i: usize, alive: &[u64]) -> LeakCause {
        match self.nodes[i].need {
            Need::Nothing if self.met[i].private => LeakCause::Private,
            Need::Nothing | Need::Unknown => LeakCause::Never,
            Need::Goroutine(id) if self.met[i].g.wait_reason() == WaitReason::Join => LeakCause::Joins(id),
            Need::Goroutine(id) if alive.binary_search(&id).is_ok() => LeakCause::HolderLeaked(id),
            Need::Goroutine(id) => LeakCause::HolderEnded(id),
            Need::Arms => {
                let from = self.arms.partition_point(|a| (a.who as usize) < i);
                let n = self.arms[from..].partition_point(|a| a.who as usize == i);
                match &self.arms[from..from + n] {
                    [
                        Arm {
                            receiving: true,
                            senders: 0,
                            handles,
                            ..
                        },
                    ] => LeakCause::NoSender { handles: *handles },
                    [Arm { handles, .. }] => LeakCause::NoHandle { handles: *handles },
                    arms => LeakCause::NoCase { cases: arms.len() },
                }
            }
        }
    }
}
