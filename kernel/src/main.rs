#![no_std]
#![no_main]
#[used]
static ENTRY: unsafe extern "C" fn() = burrow::__boot_entry;
