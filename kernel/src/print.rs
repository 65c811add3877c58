//! Placeholder until the console lands.

/// Prints to the console.
#[macro_export]
macro_rules! println {
    ($($t:tt)*) => {{ let _ = format_args!($($t)*); }};
}
