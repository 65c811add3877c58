//! Boot order, as a list.
//!
//! Every boot path ends in [`start`] on the boot core, with [`bootinfo`] set, the core's block in GS and the
//! serial port ready; every other core ends in [`start_core`].

use crate::{
    arch::x86_64::{acpi, apic, bootinfo, clock, gdt, ioapic, irq, paging, pic, serial, smp, trap},
    mem::{self, frames},
    opts,
    panic::symbols,
};

/// The rest of the boot. The page tables so far show physical memory below `limit`.
pub(crate) fn start(limit: u64) -> ! {
    let info = bootinfo::get();
    gdt::init_on_each_core(0);
    trap::init_idt();
    trap::load_idt();
    let mut free = info.free.clone();
    smp::reserve_trampoline(&mut free);
    frames::init(&mut free, info.later.end(), limit);
    paging::init_on_bsp(info);
    frames::add(&info.later);
    symbols::init_on_bsp(info.symbols);
    mem::init();
    pic::disable();
    acpi::init_on_bsp(info);
    apic::init_on_bsp();
    ioapic::init(acpi::platform());
    clock::init_on_bsp(info.boot_tsc);
    irq::route_isa(serial::IRQ, serial::on_interrupt);
    serial::enable_input();
    let cores = smp::start_all(opts::get_u64("cores").map_or(usize::MAX, |n| n.max(1) as usize));
    report(cores);
    crate::sched::start::boot(program)
}

unsafe extern "Rust" {
    /// The program's main function, defined by `#[burrow::main]` or the test harness.
    fn __burrow_main();
}

fn program() {
    smp::open_gate();
    if opts::flag("announce") {
        crate::println!("{}{}", char::from(burrow_proto::MARK), burrow_proto::Line::Main);
    }
    if !opts::flag("det") {
        crate::console::start(); // Ctrl-\ works in every program; keys are not deterministic
    }
    crate::trace::schedtrace::start_if_wanted();
    if !opts::flag("det") {
        crate::sched::scavenger::start();
        crate::net::init(); // a device's packets are not deterministic; the loopback link is there anyway
    }
    // SAFETY: defined exactly once, by the attribute, as a safe function.
    unsafe { __burrow_main() }
}

/// A core other than the first enters the scheduler.
pub(crate) fn start_core(index: usize) -> ! {
    crate::sched::start::start_core(index)
}

/// One line about the machine, with `bootinfo=1`.
fn report(cores: usize) {
    if !opts::flag("bootinfo") {
        return;
    }
    let info = bootinfo::get();
    crate::println!(
        "boot: {:?} cores={cores} ram={}K free={}K tsc={}Hz ({:?}) lapic={} skew={} symbols={} to-main={}us",
        info.path,
        info.ram.bytes() / 1024,
        frames::free_count() * 4,
        clock::tsc_hz(),
        clock::source(),
        if apic::is_x2apic() { "x2apic" } else { "xapic" },
        clock::is_skewed(),
        info.symbols.map_or(0, <[u8]>::len),
        clock::now_ns() / 1000,
    );
}
