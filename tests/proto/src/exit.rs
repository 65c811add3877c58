//! How a run ends: the `BURROW-EXIT n` line and the byte written to QEMU's `isa-debug-exit` device.
//!
//! The device ends QEMU with status `(value << 1) | 1`. A triple fault under `-no-reboot` ends it with 0,
//! which therefore never means success.

/// I/O port of `-device isa-debug-exit,iobase=0xf4,iosize=4`.
pub const PORT: u16 = 0xf4;

/// What the guest writes to [`PORT`].
///
/// ```
/// use burrow_proto::{ExitPort, code_agrees};
/// assert!(code_agrees(ExitPort::Pass.qemu_status(), 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ExitPort {
    /// The run passed; the line says 0.
    Pass = 0x10,
    /// At least one test failed; the line says 1.
    TestFailure = 0x11,
    /// The program ended with the code on the line.
    Program = 0x12,
}

impl ExitPort {
    /// The status that QEMU exits with for this value.
    ///
    /// ```
    /// assert_eq!(burrow_proto::ExitPort::Pass.qemu_status(), 33);
    /// ```
    pub const fn qemu_status(self) -> i32 {
        (self as i32) << 1 | 1
    }
}

/// Does QEMU's exit status go with the code on the `BURROW-EXIT` line?
///
/// ```
/// assert!(burrow_proto::code_agrees(33, 0));
/// assert!(!burrow_proto::code_agrees(33, 2));
/// assert!(!burrow_proto::code_agrees(0, 0)); // a triple fault
/// ```
pub const fn code_agrees(qemu_status: i32, code: i32) -> bool {
    if qemu_status == ExitPort::Pass.qemu_status() {
        code == 0
    } else if qemu_status == ExitPort::TestFailure.qemu_status() {
        code == 1
    } else {
        qemu_status == ExitPort::Program.qemu_status() && code != 0
    }
}
