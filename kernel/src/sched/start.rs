//! From boot to the first goroutine.
//!
//! Each core gets its block and g0 (the stack it booted on), then lives in `find::run`. The boot core makes
//! the Ps, the main goroutine, and lets the others in; they start idle and are woken for work.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use super::{
    BOOTED, SEED, dump, find, global, global::SCHED, grow, m, opts, p, preempt, reclaimer, spawn, spawn::How,
};
use crate::{
    arch::{
        self,
        x86_64::{
            clock, percpu, tlb,
            trap::{self, Hooks, StackFault, TrapFrame},
        },
    },
    mem::stack,
    panic::{Kind, fault},
};

static HOOKS: Hooks = Hooks {
    timer: preempt::on_timer,
    resched: preempt::on_resched,
    stack_fault: stack::on_fault,
    grow: preempt::grow_on_g0,
    inject,
    fatal,
    device,
    tlb: tlb::on_ipi,
};

/// A goroutine's fault becomes its panic.
fn inject(f: &mut TrapFrame, cr2: usize, what: StackFault) {
    let Some(g) = super::try_current() else {
        fatal(f, cr2, "fault without a goroutine")
    };
    let s = g.stack.get();
    let kind = match what {
        StackFault::Overflow => {
            g.overflow.set(true);
            Kind::StackOverflow {
                goid: g.id(),
                size: s.size(),
            }
        }
        StackFault::NoMemory => {
            grow::panics(g);
            Kind::OutOfMemory { size: stack::PAGE }
        }
        _ => fault::kind_of(f, cr2),
    };
    if !fault::inject(f, kind, s.floor()..s.top()) {
        fatal(f, cr2, "fault with a wild stack pointer");
    }
}

fn fatal(f: &TrapFrame, cr2: usize, why: &str) -> ! {
    crate::panic::fatal_at(
        format_args!(
            "{why} (rip={:#x} rsp={:#x} error={:#x} cr2={cr2:#x})",
            f.rip, f.rsp, f.error
        ),
        f,
    )
}

fn device(vector: u8) {
    arch::x86_64::irq::dispatch(vector);
}

/// Sets up the scheduler on the boot core and never returns; `main` becomes goroutine 1.
pub(crate) fn boot(main: fn()) -> ! {
    opts::init();
    let seed = crate::opts::get("seed")
        .and_then(|v| v.parse().ok())
        .unwrap_or_else(clock::tsc);
    SEED.store(seed, Ordering::Relaxed);
    let core = percpu::this();
    let n = arch::core_count();
    let want = crate::opts::get("gomaxprocs")
        .and_then(|v| v.parse::<usize>().ok())
        .unwrap_or(n)
        .clamp(1, n);
    trap::set_hooks(&HOOKS);
    percpu::set_preempt_hook(preempt::yield_preempted);
    for id in 0..want {
        p::get(id).init(id, seed);
    }
    global::GOMAXPROCS.store(want as u32, Ordering::Relaxed);
    {
        let mut s = SCHED.lock();
        for id in 1..want {
            s.put_idle_p(p::get(id));
        }
    }
    m::set_p(core, p::get(0));
    crate::mem::frames::refill(core.index());
    let body = move || {
        main();
        dump::on_main_return()
    };
    let how = How {
        stack_size: main_stack(),
        ..How::default()
    };
    if let Err(e) = spawn::start(body, how, core::panic::Location::caller()) {
        crate::panic::fatal_fmt(format_args!("cannot start the main goroutine: {e}"));
    }
    if let Err(e) = reclaimer::start() {
        crate::panic::fatal_fmt(format_args!("cannot start the reclaimer: {e}"));
    }
    BOOTED.store(true, Ordering::Release);
    OPEN.store(true, Ordering::Release); // pairs with the Acquire in `start_core`
    find::run(core)
}

/// The main goroutine's stack limit, if `mainstack=` sets one.
fn main_stack() -> Option<usize> {
    let v = crate::opts::get("mainstack")?;
    let allowed = stack::DEFAULT_SIZE..=stack::MAX_SIZE;
    match crate::opts::bytes(v)
        .map(|n| n as usize)
        .filter(|n| allowed.contains(n))
    {
        None => crate::panic::fatal_fmt(format_args!(
            "mainstack={v}: must be a number of bytes, K, M or G, from 256K to 1G"
        )),
        size => size,
    }
}

static OPEN: AtomicBool = AtomicBool::new(false);

/// Another core's way into the scheduler.
pub(crate) fn start_core(_index: usize) -> ! {
    while !OPEN.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    let core = percpu::this();
    crate::mem::frames::refill(core.index());
    find::run(core)
}
