//! Time: the TSC, scaled to nanoseconds since boot.
//!
//! The frequency is told by the hypervisor (CPUID leaf 0x40000010) or the processor (0x15), or measured
//! against a clock whose frequency is a constant of the platform: the ACPI timer or, without one, PIT channel 0. The LAPIC
//! timer has no leaf that can be trusted and is measured in the same windows.
//!
//! **Measuring.** 12 samples of (TSC, reference, LAPIC), 2 ms apart; a window is sample i with i + 6: six
//! overlapping windows of 12 ms, 22 ms altogether. Each sample brackets the reference's read between two TSC reads; a
//! host that takes the virtual processor away in between makes the bracket wide, and the window with the
//! narrowest brackets wins. 1 µs in 12 ms is 80 ppm. Between two samples it may be away for longer than the PIT takes to
//! come round (55 ms), which the count does not show. The ACPI timer takes 4.7 s, hence it comes first; with the PIT, a
//! window with a step that is much longer than the shortest one is not used, and without any other all is measured again.
//!
//! **Across cores.** Each starting core compares its TSC with the boot core's by ping-pong (`smp`). Within the
//! best round trip's uncertainty it counts as equal. Else the core's offset goes into a table and reads take TSC and
//! core number by one `rdtscp` (a core's number sits in its `TSC_AUX`): no pinning, no lock. Not
//! run on hardware: no machine here has offsets.
//!
//! Refused: the HPET (a device read per look), and `TSC_ADJUST` (not everywhere).

use core::{
    arch::x86_64::{__rdtscp, _mm_lfence, _rdtsc},
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering},
};

use super::{
    acpi, apic,
    percpu::MAX_CORES,
    port::{self, cpuid},
};
use crate::arch::scale::Scale;

/// Where the frequency comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Source {
    /// Nothing worked: 1 GHz assumed.
    Guess,
    /// The hypervisor's word.
    Hypervisor,
    /// The processor's word.
    Cpuid,
    /// Measured against the PIT.
    Pit,
    /// Measured against the ACPI timer.
    PmTimer,
}

static NS_MUL: AtomicU64 = AtomicU64::new(1 << 32);
static NS_SHIFT: AtomicU32 = AtomicU32::new(32);
static TSC_MUL: AtomicU64 = AtomicU64::new(1 << 32);
static TSC_SHIFT: AtomicU32 = AtomicU32::new(32);
static BOOT_TSC: AtomicU64 = AtomicU64::new(0);
static HZ: AtomicU64 = AtomicU64::new(1_000_000_000);
static SOURCE: AtomicU8 = AtomicU8::new(Source::Guess as u8);
static BOOT_UNIX: AtomicU64 = AtomicU64::new(0);

/// Does some core's TSC differ from the boot core's?
static SKEWED: AtomicBool = AtomicBool::new(false);
/// A core's TSC minus the boot core's.
static OFFSETS: [AtomicI64; MAX_CORES] = [const { AtomicI64::new(0) }; MAX_CORES];

/// The time-stamp counter, as the boot core would read it.
#[inline(always)]
pub fn tsc() -> u64 {
    if SKEWED.load(Ordering::Relaxed) {
        return tsc_skewed();
    }
    // SAFETY: every x86_64 processor has it.
    unsafe { _rdtsc() }
}

#[cold]
fn tsc_skewed() -> u64 {
    let mut core = 0;
    // SAFETY: SKEWED is set only if the processor has `rdtscp`.
    let t = unsafe { __rdtscp(&mut core) };
    t.wrapping_sub(OFFSETS[core as usize % MAX_CORES].load(Ordering::Relaxed) as u64)
}

/// Nanoseconds since boot; never decreases, on whatever core.
#[inline(always)]
pub fn now_ns() -> u64 {
    tsc_to_ns(tsc().saturating_sub(BOOT_TSC.load(Ordering::Relaxed)))
}

/// A span of ticks in nanoseconds.
#[inline(always)]
pub fn tsc_to_ns(ticks: u64) -> u64 {
    Scale {
        mul: NS_MUL.load(Ordering::Relaxed),
        shift: NS_SHIFT.load(Ordering::Relaxed),
    }
    .apply(ticks)
}

/// A span of nanoseconds in ticks.
#[inline(always)]
pub fn ns_to_tsc(ns: u64) -> u64 {
    Scale {
        mul: TSC_MUL.load(Ordering::Relaxed),
        shift: TSC_SHIFT.load(Ordering::Relaxed),
    }
    .apply(ns)
}

/// The TSC value at [`now_ns`]` == ns`.
#[inline(always)]
pub fn tsc_at(ns: u64) -> u64 {
    BOOT_TSC.load(Ordering::Relaxed).saturating_add(ns_to_tsc(ns))
}

/// Ticks per second.
pub fn tsc_hz() -> u64 {
    HZ.load(Ordering::Relaxed)
}

/// How we know.
pub fn source() -> Source {
    match SOURCE.load(Ordering::Relaxed) {
        1 => Source::Hypervisor,
        2 => Source::Cpuid,
        3 => Source::Pit,
        4 => Source::PmTimer,
        _ => Source::Guess,
    }
}

/// Seconds since 1970, from the CMOS clock at boot and our own since; 0 if there is no CMOS clock.
pub fn now_unix() -> u64 {
    match BOOT_UNIX.load(Ordering::Relaxed) {
        0 => 0,
        s => s + now_ns() / 1_000_000_000,
    }
}

/// Spins. For boot only.
pub fn spin_ns(ns: u64) {
    let end = tsc().wrapping_add(ns_to_tsc(ns));
    while (tsc().wrapping_sub(end) as i64) < 0 {
        spin_loop();
    }
}

/// A counter of known frequency.
#[derive(Clone, Copy)]
enum Reference {
    Pit,
    PmTimer(u16),
}

impl Reference {
    fn hz(self) -> u64 {
        match self {
            Reference::Pit => 1_193_182,
            Reference::PmTimer(_) => 3_579_545,
        }
    }

    fn start(self) {
        if let Reference::Pit = self {
            // Channel 0, both bytes, mode 2 (rate generator), the full 65,536. Its interrupt stays masked.
            for (port, v) in [(0x43, 0x34), (0x40, 0), (0x40, 0)] {
                // SAFETY: 1. programs a timer nobody else uses.
                unsafe { port::outb(port, v) };
            }
        }
    }

    /// The count, upwards.
    fn read(self) -> u32 {
        match self {
            Reference::Pit => {
                // SAFETY: 1. latches channel 0.
                unsafe { port::outb(0x43, 0) };
                // SAFETY: 1. the latched count, low byte first.
                let lo = unsafe { port::inb(0x40) };
                // SAFETY: 1. and the high byte.
                let hi = unsafe { port::inb(0x40) };
                0u32.wrapping_sub(u32::from(lo) | u32::from(hi) << 8)
            }
            // SAFETY: 1. the port the FADT names.
            Reference::PmTimer(port) => unsafe { port::inl(port) },
        }
    }

    fn mask(self) -> u32 {
        match self {
            Reference::Pit => 0xffff,
            Reference::PmTimer(_) => 0xff_ffff,
        }
    }

    /// Does it count at all? An absent one reads as a constant.
    fn works(self) -> bool {
        self.start();
        let first = self.read() & self.mask();
        (0..2_000).any(|_| {
            spin_loop();
            self.read() & self.mask() != first
        })
    }
}

#[derive(Clone, Copy, Default)]
struct Sample {
    tsc: u64,
    bracket: u64,
    reference: u32,
    lapic: u32,
}

fn sample(r: Reference) -> Sample {
    let a = tsc();
    let reference = r.read();
    let lapic = apic::calibration_read();
    let b = tsc();
    Sample {
        tsc: a + (b - a) / 2,
        bracket: b - a,
        reference,
        lapic,
    }
}

const SAMPLES: usize = 12;
const APART: usize = 6;

/// A step may take this many times as long as the shortest; the PIT comes round in 27.
const STALL: u64 = 16;

/// Frequencies of TSC and LAPIC timer.
fn measure(r: Reference) -> Option<(u64, u64)> {
    (0..8)
        .find_map(|_| measure_once(r, STALL))
        .or_else(|| measure_once(r, u64::MAX))
}

/// As told in the file head; `None` if every window has a step longer than `stall` times the shortest.
fn measure_once(r: Reference, stall: u64) -> Option<(u64, u64)> {
    apic::calibration_start();
    r.start();
    let mut s = [Sample::default(); SAMPLES];
    s[0] = sample(r);
    let step = (r.hz() / 500) as u32; // 2 ms
    for i in 1..SAMPLES {
        for _ in 0..100_000_000u32 {
            if r.read().wrapping_sub(s[i - 1].reference) & r.mask() >= step {
                break;
            }
        }
        s[i] = sample(r);
    }
    let length = |w: &[Sample]| w[1].tsc - w[0].tsc;
    let longest = s.windows(2).map(length).min()?.saturating_mul(stall);
    let (a, b) = (0..SAMPLES - APART)
        .filter(|&i| s[i..=i + APART].windows(2).all(|w| length(w) <= longest))
        .map(|i| (s[i], s[i + APART]))
        .min_by_key(|(a, b)| a.bracket + b.bracket)?;
    let ticks = b.reference.wrapping_sub(a.reference) & r.mask();
    let hz = |n: u64| (u128::from(n) * u128::from(r.hz()) / u128::from(ticks.max(1))) as u64;
    let tsc = hz(b.tsc - a.tsc);
    (ticks > 0 && tsc > 1_000_000).then(|| (tsc, hz(u64::from(b.lapic.wrapping_sub(a.lapic)))))
}

/// What CPUID says of the TSC's frequency.
fn told() -> Option<(u64, Source)> {
    if cpuid(1, 0).ecx & 1 << 31 != 0 {
        let khz = u64::from(cpuid(0x4000_0010, 0).eax);
        // VMware's leaf, which KVM and QEMU copy; other hypervisors leave it 0.
        if (100_000..20_000_000).contains(&khz) {
            return Some((khz * 1000, Source::Hypervisor));
        }
    }
    let l = cpuid(0x15, 0);
    let hz = u64::from(l.ecx) * u64::from(l.ebx) / u64::from(l.eax.max(1));
    (l.eax != 0 && hz > 100_000_000).then_some((hz, Source::Cpuid))
}

/// Finds the frequencies. Once, on the boot core, after the APIC; interrupts off.
pub fn init_on_bsp(boot_tsc: u64) {
    let pm = acpi::platform().pm_timer_port;
    let reference = [
        (Reference::PmTimer(pm), Source::PmTimer),
        (Reference::Pit, Source::Pit),
    ]
    .into_iter()
    .find(|(r, _)| !matches!(r, Reference::PmTimer(0)) && r.works());
    let measured = reference.and_then(|(r, s)| Some((measure(r)?, s)));
    let told = told();
    let (hz, source) = match (told, measured) {
        (Some(t), _) => t,
        (None, Some(((tsc, _), s))) => (tsc, s),
        (None, None) => (1_000_000_000, Source::Guess),
    };
    // With a trusted TSC, the LAPIC's rate follows from their ratio, without the reference's error.
    let lapic = match measured {
        Some(((tsc, lapic), _)) => (u128::from(lapic) * u128::from(hz) / u128::from(tsc)) as u64,
        None => against_tsc(hz),
    };
    apic::calibration_end(lapic);
    let ns = Scale::new(1_000_000_000, hz);
    let ticks = Scale::new(hz, 1_000_000_000);
    NS_MUL.store(ns.mul, Ordering::Relaxed);
    NS_SHIFT.store(ns.shift, Ordering::Relaxed);
    TSC_MUL.store(ticks.mul, Ordering::Relaxed);
    TSC_SHIFT.store(ticks.shift, Ordering::Relaxed);
    HZ.store(hz, Ordering::Relaxed);
    SOURCE.store(source as u8, Ordering::Relaxed);
    BOOT_TSC.store(boot_tsc, Ordering::Relaxed);
    BOOT_UNIX.store(
        super::rtc::read().map_or(0, |s| s - (now_ns() / 1_000_000_000).min(s)),
        Ordering::Relaxed,
    );
    init_on_each_core(0);
}

/// The LAPIC timer's rate from 10 ms of a TSC of known rate.
fn against_tsc(hz: u64) -> u64 {
    apic::calibration_start();
    let start = tsc();
    let end = start + hz / 100;
    while tsc() < end {
        spin_loop();
    }
    let counts = u64::from(apic::calibration_read());
    (u128::from(counts) * u128::from(hz) / u128::from(tsc() - start)) as u64
}

fn has_rdtscp() -> bool {
    cpuid(0x8000_0001, 0).edx & 1 << 27 != 0
}

/// Puts this core's number where `rdtscp` shows it.
pub fn init_on_each_core(index: usize) {
    if has_rdtscp() {
        const TSC_AUX: u32 = 0xc000_0103;
        // SAFETY: 1. exists with `rdtscp`.
        unsafe { port::wrmsr(TSC_AUX, index as u64) };
    }
}

/// Rounds of the ping-pong; the shortest counts.
const ROUNDS: u64 = 8;
/// Under a hypervisor a round costs up to two time slices of a busy host, and all virtual cores read one
/// clock: the first round this short (in ns) in which no skew shows is enough.
const SHORT_NS: u64 = 50_000;
/// Round trip under way: with core i, 256 i + 2r + 1 = ping r, 256 i + 2r + 2 = pong r, 256 i + `OVER` = no
/// more. It only grows, so a core that is slow to see its end cannot take the next core's balls for its own.
static BALL: AtomicU64 = AtomicU64::new(0);
const OVER: u64 = 255;
static PONG_TSC: AtomicU64 = AtomicU64::new(0);

fn raw_tsc() -> u64 {
    // SAFETY: every x86_64 processor has both; the fence keeps the read in its place.
    unsafe { _mm_lfence() };
    // SAFETY: as above.
    unsafe { _rdtsc() }
}

/// Could both clocks be one? Their reading lies within the round trip.
fn consistent(trip: u64, offset: i64) -> bool {
    offset.unsigned_abs() <= trip / 2 + 1
}

/// The boot core's side: compares its TSC with that of starting core `index`, which is in [`compare_on_ap`].
pub fn compare_on_bsp(index: usize) {
    let virtual_machine = cpuid(1, 0).ecx & 1 << 31 != 0;
    let base = index as u64 * 256;
    let mut best = (u64::MAX, 0i64);
    for r in 0..ROUNDS {
        let ping = base + 2 * r + 1;
        let t0 = raw_tsc();
        BALL.store(ping, Ordering::Release); // pairs with the Acquire in `compare_on_ap`
        while BALL.load(Ordering::Acquire) != ping + 1 {
            spin_loop();
        }
        let t1 = raw_tsc();
        let theirs = PONG_TSC.load(Ordering::Relaxed);
        let trip = t1.wrapping_sub(t0);
        if trip < best.0 {
            best = (trip, theirs.wrapping_sub(t0.wrapping_add(trip / 2)) as i64);
        }
        if virtual_machine && tsc_to_ns(trip) < SHORT_NS && consistent(best.0, best.1) {
            break;
        }
    }
    let (trip, offset) = best;
    if !consistent(trip, offset) && has_rdtscp() {
        OFFSETS[index].store(offset, Ordering::Relaxed);
        SKEWED.store(true, Ordering::Relaxed);
    }
    BALL.store(base + OVER, Ordering::Release); // pairs with the Acquire in `compare_on_ap`
}

/// The side of starting core `index`.
pub fn compare_on_ap(index: usize) {
    let base = index as u64 * 256;
    let mut next = base + 1;
    loop {
        let ball = BALL.load(Ordering::Acquire); // pairs with the Releases in `compare_on_bsp`
        if ball == next {
            PONG_TSC.store(raw_tsc(), Ordering::Relaxed);
            BALL.store(next + 1, Ordering::Release); // pairs with the Acquire in `compare_on_bsp`
            next += 2;
        } else if ball >= base + OVER {
            return;
        } else {
            spin_loop();
        }
    }
}

/// Were offsets between cores found?
pub fn is_skewed() -> bool {
    SKEWED.load(Ordering::Relaxed)
}

/// A core's offset, for reports.
pub fn offset_of_core(index: usize) -> i64 {
    OFFSETS[index].load(Ordering::Relaxed)
}
