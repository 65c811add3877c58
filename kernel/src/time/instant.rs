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
/// assert_eq!((b.duration_since(a), a.duration_since(b)), (Duration::from_secs(1), Duration::ZERO));
/// assert_eq!(a.saturating_duration_since(b), Duration::ZERO);
/// assert_eq!(a.checked_duration_since(b), None);
/// assert_eq!(a.checked_add(Duration::from_secs(1)), Some(b));
/// assert_eq!(a.checked_sub(Duration::MAX), None);
/// assert!(a.elapsed() < Duration::from_secs(3600));
/// assert_eq!(b.as_nanos(), a.as_nanos() + 1_000_000_000);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Now.
    ///
    /// ```
    /// use burrow::time::Instant;
    /// let a = Instant::now();
    /// assert!(Instant::now() >= a);
    /// ```
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
    ///
    /// ```
    /// use burrow::time::{Duration, Instant};
    /// let a = Instant::now();
    /// let b = a + Duration::from_secs(1);
    /// assert_eq!(b.duration_since(a), Duration::from_secs(1));
    /// assert_eq!(a.duration_since(b), Duration::ZERO);
    /// ```
    pub fn duration_since(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }

    /// Time since `earlier`, `None` if that is later.
    ///
    /// ```
    /// use burrow::time::{Duration, Instant};
    /// let a = Instant::now();
    /// let b = a + Duration::from_secs(1);
    /// assert_eq!(b.checked_duration_since(a), Some(Duration::from_secs(1)));
    /// assert_eq!(a.checked_duration_since(b), None);
    /// ```
    pub fn checked_duration_since(self, earlier: Instant) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }

    /// Time since `earlier`; zero if that is later.
    ///
    /// ```
    /// use burrow::time::{Duration, Instant};
    /// let a = Instant::now();
    /// assert_eq!(a.saturating_duration_since(a + Duration::from_secs(1)), Duration::ZERO);
    /// ```
    pub fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Time since this instant.
    pub fn elapsed(self) -> Duration {
        Instant::now().saturating_duration_since(self)
    }

    /// `self + d`, unless the clock cannot hold it.
    ///
    /// ```
    /// use burrow::time::{Duration, Instant};
    /// let a = Instant::now();
    /// assert_eq!(a.checked_add(Duration::from_secs(1)), Some(a + Duration::from_secs(1)));
    /// assert_eq!(a.checked_add(Duration::MAX), None);
    /// ```
    pub fn checked_add(self, d: Duration) -> Option<Instant> {
        self.0.checked_add(u64::try_from(d.as_nanos()).ok()?).map(Instant)
    }

    /// `self - d`, unless that is before the clock began.
    ///
    /// ```
    /// use burrow::time::{Duration, Instant};
    /// let a = Instant::now();
    /// assert_eq!(a.checked_sub(Duration::ZERO), Some(a));
    /// assert_eq!(a.checked_sub(Duration::MAX), None);
    /// ```
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
