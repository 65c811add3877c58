//! The contract between the machine and the runtime: names that both back ends implement.

// Arithmetic and parsing without a machine, for the tests on the host.
#[cfg(any(target_os = "none", test))]
#[doc(hidden)] // internal: the back end
pub mod acpi_tables;
#[cfg(any(target_os = "none", test))]
mod civil;
#[cfg(any(target_os = "none", test))]
#[doc(hidden)] // internal: the back end
pub mod scale;

#[cfg(target_os = "none")]
#[doc(hidden)] // internal: the back end
pub mod x86_64;
#[cfg(target_os = "none")]
pub use x86_64::exit::exit;
#[cfg(target_os = "none")]
#[doc(hidden)] // internal: the back end
pub use x86_64::percpu::{
    MAX_CORES, core_count, core_index, in_runtime_context, irq_off, irq_on, irq_restore, irq_save, mcache,
    preempt_count, preempt_disable, preempt_enable, preempt_lower, preempt_wanted,
};
#[cfg(target_os = "none")]
#[doc(hidden)] // internal: the back end
pub use x86_64::{
    clock::{now_ns, now_unix},
    exit::exit_tests,
    paging::phys_to_virt,
};

#[cfg(not(target_os = "none"))]
#[doc(hidden)] // internal: the back end
pub mod host;
#[cfg(all(not(target_os = "none"), test))]
#[doc(hidden)] // internal: the back end
pub use host::set_mcache;
#[cfg(not(target_os = "none"))]
#[doc(hidden)] // internal: the back end
pub use host::{
    MAX_CORES, core_count, core_index, in_runtime_context, irq_off, irq_on, irq_restore, irq_save, mcache,
    now_unix, preempt_count, preempt_disable, preempt_enable, preempt_lower, preempt_wanted,
};
