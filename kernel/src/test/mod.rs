//! Tests that run inside the virtual machine.
//!
//! `#[burrow::test]` puts a [`TestDesc`] into the linker section `.burrow_tests`; a test image is a program whose
//! `main` is [`run_all`] (`burrow::test_main!()` writes it). Each test runs as a goroutine of its own, so its
//! panic is contained and its time is limited; the harness itself is the main goroutine and only waits.
//!
//! The harness decides nothing about success as seen from outside: it prints the lines of `burrow-proto` and the
//! host program draws the conclusions, because only the host can tell a hang or a reset from a pass. A test that
//! exceeds its limit cannot be stopped (there is no way to kill a goroutine), so a watchdog ends the machine with a
//! fatal error and its dump of all goroutines; the host boots anew for the tests that are left. The refused
//! alternative, to go on beside the stuck goroutine, lets one failure colour the next ones. The watchdog is a *system*
//! goroutine: a test that deadlocks is found as a deadlock, at once, and in deterministic mode in virtual time.
//!
//! Invariants: tests run one after the other in the order of their source; the numbering of the selected tests
//! depends only on the image and the selection, so `test_from=K` continues where an earlier boot stopped.

mod desc;
mod plan;
#[cfg(target_os = "none")]
mod registry;
#[cfg(target_os = "none")]
mod run;
#[cfg(target_os = "none")]
mod watchdog;

pub use desc::Outcome;
#[doc(hidden)] // what the macros expand to
pub use desc::{TestDesc, check};
#[cfg(target_os = "none")]
#[doc(hidden)] // what `test_main!` expands to, and an option of the kernel's own tests
pub use run::{run_all, soak_secs};

/// With `announce=1`, tells the host program that `main` begins (it measures boot time).
#[doc(hidden)]
pub fn announce() {
    if crate::opts::flag("announce") {
        crate::println!("\x1e{}", burrow_proto::Line::Main);
    }
}

/// Makes a program a test image: defines its `main`.
///
/// ```ignore (a whole program: tests/tests/harness.rs)
/// #![no_std]
/// #![no_main]
/// burrow::test_main!();
///
/// #[burrow::test]
/// fn one_and_one() {
///     assert_eq!(1 + 1, 2);
/// }
/// ```
#[macro_export]
#[allow_internal_unsafe] // a program's `forbid(unsafe_code)` is about what its author writes
macro_rules! test_main {
    () => {
        #[$crate::main]
        fn burrow_test_main() {
            $crate::test::run_all()
        }

        /// Tells the host program that this image is to be tested, not merely run.
        #[used]
        #[unsafe(no_mangle)]
        static __BURROW_TEST_IMAGE: u8 = 1;
    };
}

/// What `#[burrow::main]` puts beside the function.
#[doc(hidden)]
#[macro_export]
#[allow_internal_unsafe] // see `test_main`
macro_rules! __main {
    ($main:path) => {
        #[cfg(target_os = "none")]
        const _: () = {
            #[unsafe(no_mangle)]
            fn __burrow_main() {
                $crate::test::announce();
                $crate::test::check($main())
            }
            // Without a reference to the boot code the linker would leave the library out.
            #[used]
            static ENTRY: unsafe extern "C" fn() = $crate::__boot_entry;
        };
    };
}

/// What `#[burrow::test]` puts beside the function.
#[doc(hidden)]
#[macro_export]
#[allow_internal_unsafe] // see `test_main`
macro_rules! __test {
    ($desc:expr) => {
        const _: () = {
            static DESC: $crate::test::TestDesc = $desc;
            #[used]
            #[cfg_attr(target_os = "none", unsafe(link_section = ".burrow_tests"))]
            static ENTRY: &$crate::test::TestDesc = &DESC;
        };
    };
}
