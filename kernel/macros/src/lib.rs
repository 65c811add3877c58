//! Attribute macros: `#[burrow::main]`, `#[burrow::test]`.
