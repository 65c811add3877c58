//! What programs hold: [`Timer`], [`Ticker`], and the functions that make one without a handle.
//!
//! A timer that sends is nothing but the receiving end of its channel (`channel` has the engine): `stop` and `reset`
//! find the timer through it. So cloning `c` keeps the timer, and dropping every clone ends it. Nothing here needs a
//! `Drop`.
#![forbid(unsafe_code)]

use core::fmt;

use super::{Duration, Instant, channel, deadline, func};
use crate::Receiver;

/// One event in the future: a value on [`Timer::c`], or a call.
///
/// Once [`stop`](Timer::stop) or [`reset`](Timer::reset) has returned, no value of the time before is received (Go
/// 1.23). When the timer and every clone of its channel are gone, so is its place in the machine.
///
/// ```
/// use burrow::time::{Duration, Timer};
/// let timer = Timer::new(Duration::from_secs(3600));
/// assert!(timer.reset(Duration::from_millis(1))); // it was running
/// assert!(timer.c.recv().is_some());
/// assert!(!timer.stop()); // too late
/// ```
///
/// Nobody else sends on its channel, or closes it:
///
/// ```compile_fail,E0599
/// burrow::time::Timer::new(burrow::time::Duration::ZERO).c.close();
/// ```
#[must_use = "a timer that nobody holds never fires"]
pub struct Timer {
    /// Where the time is sent when the timer fires; the nil channel for a timer of [`after_func`]. It is never closed,
    /// and its `len` and `cap` are 0.
    pub c: Receiver<Instant>,
    func: Option<func::Func>,
}

impl Timer {
    /// A timer that sends the time on its channel once, `d` from now.
    ///
    /// ```
    /// use burrow::time::{Duration, Instant, Timer};
    /// let begin = Instant::now();
    /// let fired = Timer::new(Duration::from_millis(2)).c.recv().expect("never closed");
    /// assert!(fired >= begin + Duration::from_millis(2));
    /// ```
    pub fn new(d: Duration) -> Timer {
        Timer {
            c: after(d),
            func: None,
        }
    }

    /// Its channel: the field of that name, for who prefers methods.
    ///
    /// ```
    /// let timer = burrow::time::Timer::new(burrow::time::Duration::ZERO);
    /// assert!(timer.c().recv().is_some());
    /// ```
    pub fn c(&self) -> &Receiver<Instant> {
        &self.c
    }

    /// Stops the timer. `true`: it would have fired; `false`: it has (its value was received, its function started), or
    /// was stopped before. Does not wait for a function that runs.
    ///
    /// ```
    /// let timer = burrow::time::Timer::new(burrow::time::Duration::ZERO);
    /// burrow::time::sleep(burrow::time::Duration::from_millis(5));
    /// assert!(timer.stop()); // fired, but nobody saw it
    /// assert!(timer.c.try_recv().is_err());
    /// ```
    pub fn stop(&self) -> bool {
        match &self.func {
            Some(f) => func::stop(f),
            None => channel::stop(&self.c),
        }
    }

    /// Lets it fire `d` from now, instead of whatever it was going to do. `true`: it would have fired. A function may
    /// run again, also while it still runs for the time before.
    ///
    /// ```
    /// use burrow::time::{Duration, Timer};
    /// let timer = Timer::new(Duration::ZERO);
    /// timer.c.recv();
    /// assert!(!timer.reset(Duration::from_millis(1)));
    /// assert!(timer.c.recv().is_some());
    /// ```
    pub fn reset(&self, d: Duration) -> bool {
        match &self.func {
            Some(f) => func::restart(f, deadline(d)),
            None => channel::restart(&self.c, deadline(d), 0),
        }
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.func.is_some() {
            "Timer(function)"
        } else {
            "Timer(channel)"
        })
    }
}

/// A clock that sends the time on [`Ticker::c`] at regular intervals.
///
/// The channel holds one tick. Who is slower than the ticker misses ticks; they are never made up for in a burst.
///
/// ```
/// use burrow::time::{Duration, Instant, Ticker};
/// let begin = Instant::now();
/// let ticker = Ticker::new(Duration::from_millis(1));
/// for _ in 0..3 {
///     ticker.c.recv();
/// }
/// ticker.stop();
/// assert!(begin.elapsed() >= Duration::from_millis(3));
/// ```
#[must_use = "a ticker that nobody holds never ticks"]
pub struct Ticker {
    /// Where the ticks arrive. It is never closed, and its `len` and `cap` are 0.
    pub c: Receiver<Instant>,
}

impl Ticker {
    /// A ticker whose first tick comes one `period` from now.
    ///
    /// # Panics
    /// If the period is zero.
    ///
    /// ```
    /// let ticker = burrow::time::Ticker::new(burrow::time::Duration::from_millis(1));
    /// assert!(ticker.c.recv().is_some());
    /// ```
    #[track_caller]
    pub fn new(period: Duration) -> Ticker {
        assert!(!period.is_zero(), "zero interval for a Ticker");
        let ticker = Ticker {
            c: channel::new_channel(),
        };
        ticker.start(period);
        ticker
    }

    fn start(&self, period: Duration) {
        let ns = u64::try_from(period.as_nanos())
            .unwrap_or(super::FAR)
            .min(super::FAR);
        channel::restart(&self.c, deadline(period), ns);
    }

    /// Its channel: the field of that name, for who prefers methods.
    ///
    /// ```
    /// let ticker = burrow::time::Ticker::new(burrow::time::Duration::from_millis(1));
    /// assert!(ticker.c().recv().is_some());
    /// ```
    pub fn c(&self) -> &Receiver<Instant> {
        &self.c
    }

    /// No tick is received any more, until a `reset`. Does not close the channel.
    ///
    /// ```
    /// let ticker = burrow::time::Ticker::new(burrow::time::Duration::from_millis(1));
    /// burrow::time::sleep(burrow::time::Duration::from_millis(3));
    /// ticker.stop();
    /// assert!(ticker.c.try_recv().is_err());
    /// ```
    pub fn stop(&self) {
        channel::stop(&self.c);
    }

    /// Starts it anew with another period; the next tick comes one `period` from now.
    ///
    /// # Panics
    /// If the period is zero.
    ///
    /// ```
    /// use burrow::time::{Duration, Ticker};
    /// let ticker = Ticker::new(Duration::from_secs(3600));
    /// ticker.reset(Duration::from_millis(1));
    /// assert!(ticker.c.recv().is_some());
    /// ```
    #[track_caller]
    pub fn reset(&self, period: Duration) {
        assert!(!period.is_zero(), "zero interval for a Ticker");
        self.start(period);
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticker")
    }
}

/// A channel on which the time arrives once, `d` from now. If it is dropped before, nothing is left of it.
///
/// ```
/// use burrow::{chan, select, time::{self, Duration}};
/// let answer = chan::<u32>(0);
/// select! {
///     recv(answer) -> _ => unreachable!("nobody answers"),
///     recv(time::after(Duration::from_millis(1))) => {}
/// }
/// ```
pub fn after(d: Duration) -> Receiver<Instant> {
    let c = channel::new_channel();
    channel::restart(&c, deadline(d), 0);
    c
}

/// The channel of a [`Ticker`] that is not stopped, but dropped. The nil channel if the period is zero.
///
/// ```
/// use burrow::time::{Duration, tick};
/// let ticks = tick(Duration::from_millis(1));
/// assert_eq!(ticks.iter().take(3).count(), 3);
/// assert!(tick(Duration::ZERO).is_nil());
/// ```
pub fn tick(period: Duration) -> Receiver<Instant> {
    match period.is_zero() {
        true => Receiver::nil(),
        false => Ticker::new(period).c,
    }
}

/// Calls `f` in a goroutine of its own, `d` from now. The timer's `stop` and `reset` act on the call; dropping the timer
/// does not. The rules of [`go`](crate::go) hold for `f`: a panic that leaves it ends the program.
///
/// ```
/// use burrow::time::{self, Duration};
/// let done = burrow::chan::<&str>(1);
/// let tx = done.sender();
/// let timer = time::after_func(Duration::from_millis(1), move || tx.send("called"));
/// assert_eq!(done.recv(), Some("called"));
/// assert!(!timer.stop());
/// ```
#[track_caller]
pub fn after_func(d: Duration, f: impl Fn() + Send + Sync + 'static) -> Timer {
    let f = func::new(f, false);
    func::restart(&f, deadline(d));
    Timer {
        c: Receiver::default(),
        func: Some(f),
    }
}

/// A timer of [`after_func`] that is stopped: `reset` starts it.
#[track_caller]
pub(crate) fn stopped_func(f: impl Fn() + Send + Sync + 'static) -> Timer {
    Timer {
        c: Receiver::default(),
        func: Some(func::new(f, false)),
    }
}

/// As [`stopped_func`], and a deadlocked program does not wait for it.
#[track_caller]
pub(crate) fn system_func(f: impl Fn() + Send + Sync + 'static) -> Timer {
    Timer {
        c: Receiver::default(),
        func: Some(func::new(f, true)),
    }
}
