//! A point in time on the monotonic clock, with `std`'s interface.
#![forbid(unsafe_code)]

use core::{
    fmt,
    ops::{Add, AddAssign, Sub, SubAssign},
    time::Duration,
};

use crate::sched;

/// A measurement of the monotonic clock: nanoseconds since boot, the same on every core.
///
/// ```
/// use burrow::time::{Duration, Instant};
/// let a = Instant::now();
/// let b = a + Duration::from_secs(1);
/// assert_eq!(b - a, Duration::from_secs(1));
/// assert_eq!(a.saturating_duration_since(b), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Now.
    #[inline]
    pub fn now() -> Self {
        Self(sched::now_ns())
    }

    /// The instant so many nanoseconds after boot.
    #[inline]
    pub(crate) fn at(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since boot.
    pub fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since `earlier`; zero if that is later.
    pub fn duration_since(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }

    /// Time since `earlier`, `None` if that is later.
    pub fn checked_duration_since(self, earlier: Instant) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }

    /// Time since `earlier`; zero if that is later.
    pub fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Time since this instant.
    pub fn elapsed(self) -> Duration {
        Instant::now().saturating_duration_since(self)
    }

    /// `self + d`, unless the clock cannot hold it.
    pub fn checked_add(self, d: Duration) -> Option<Instant> {
        self.0.checked_add(u64::try_from(d.as_nanos()).ok()?).map(Instant)
    }

    /// `self - d`, unless that is before the clock began.
    pub fn checked_sub(self, d: Duration) -> Option<Instant> {
        self.0.checked_sub(u64::try_from(d.as_nanos()).ok()?).map(Instant)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, d: Duration) -> Instant {
        match self.checked_add(d) {
            Some(t) => t,
            None => panic!("overflow when adding {d:?} to an instant"),
        }
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, d: Duration) -> Instant {
        match self.checked_sub(d) {
            Some(t) => t,
            None => panic!("overflow when subtracting {d:?} from an instant"),
        }
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, d: Duration) {
        *self = *self - d;
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, o: Instant) -> Duration {
        self.duration_since(o)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({:?})", Duration::from_nanos(self.0))
    }
}
