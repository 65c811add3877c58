//! Why a goroutine waits: what dumps and traces print.
//!
//! One byte in the G. The texts are Go's, so that a reader of Go dumps feels at home.
#![forbid(unsafe_code)]

use core::fmt;

macro_rules! reasons {
    ($($(#[$m:meta])* $name:ident = $text:literal,)*) => {
        /// Why a goroutine is parked.
        ///
        /// ```
        /// use burrow::sched::WaitReason; // also in `runtime`
        /// assert_eq!(WaitReason::ChanSend.as_str(), "chan send");
        /// ```
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum WaitReason { $($(#[$m])* $name,)* }

        impl WaitReason {
            const ALL: &'static [WaitReason] = &[$(WaitReason::$name,)*];

            /// The text that dumps show.
            pub const fn as_str(self) -> &'static str {
                match self { $(WaitReason::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// No reason given.
    None = "waiting",
    /// `recv` on an open channel.
    ChanRecv = "chan receive",
    /// `send` on an open channel.
    ChanSend = "chan send",
    /// `recv` on a nil channel: for ever.
    ChanRecvNil = "chan receive (nil chan)",
    /// `send` on a nil channel: for ever.
    ChanSendNil = "chan send (nil chan)",
    /// `select!` with arms.
    Select = "select",
    /// `select! {}`, or one whose channels are all nil: for ever.
    SelectEmpty = "select (no cases)",
    /// `time::sleep`.
    Sleep = "sleep",
    /// `sync::Mutex::lock`.
    MutexLock = "sync.Mutex.Lock",
    /// A semaphore of the runtime.
    SemaAcquire = "semacquire",
    /// `sync::WaitGroup::wait`.
    WaitGroupWait = "sync.WaitGroup.Wait",
    /// `sync::RwLock::read`.
    RwLockRead = "sync.RWMutex.RLock",
    /// `sync::RwLock::write`.
    RwLockWrite = "sync.RWMutex.Lock",
    /// `sync::Condvar::wait`.
    CondWait = "sync.Cond.Wait",
    /// Until another goroutine's `sync::Once` is through.
    OnceWait = "sync.Once.Do",
    /// `JoinHandle::join`, or the end of a `scope`.
    Join = "join",
    /// The console or the network.
    IoWait = "IO wait",
    /// The world is being stopped.
    StopTheWorld = "stopping the world",
    /// The main goroutine has ended and lets the others run.
    MainExited = "main exited",
    /// Until its core is free (`lock_os_thread`).
    LockedThread = "locked to thread",
    /// Until a frame is there for its stack.
    StackGrowth = "stack growth",
    /// A runtime goroutine between two pieces of work.
    Idle = "idle",
}

impl WaitReason {
    /// The reason stored as `b`; unknown bytes are `None`.
    pub(crate) fn from_u8(b: u8) -> WaitReason {
        Self::ALL.get(b as usize).copied().unwrap_or(WaitReason::None)
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        for &r in WaitReason::ALL {
            assert_eq!(WaitReason::from_u8(r as u8), r);
        }
        assert_eq!(WaitReason::from_u8(250), WaitReason::None);
    }
}
