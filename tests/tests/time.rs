#![no_std]
#![no_main]
burrow::test_main!();
