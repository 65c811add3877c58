//! Free text on one line: `\` `\n` `\r` and [`MARK`](crate::MARK) are written as two characters.
//!
//! Both directions are `Display` adaptors, because the guest must not allocate to report a failure.

use core::fmt::{self, Display, Formatter, Write};

/// Prints anything so that it fits on one machine line.
///
/// ```
/// assert_eq!(format!("{}", burrow_proto::Escaped("a\nb\\")), "a\\nb\\\\");
/// ```
pub struct Escaped<T>(pub T);

/// Prints escaped text as it was.
///
/// ```
/// assert_eq!(format!("{}", burrow_proto::Unescaped("a\\nb")), "a\nb");
/// ```
pub struct Unescaped<'a>(pub &'a str);

struct Escaper<'a, 'b>(&'a mut Formatter<'b>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\n' => self.0.write_str("\\n")?,
                '\r' => self.0.write_str("\\r")?,
                '\\' => self.0.write_str("\\\\")?,
                '\x1e' => self.0.write_str("\\e")?,
                c => self.0.write_char(c)?,
            }
        }
        Ok(())
    }
}

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(Escaper(f), "{}", self.0)
    }
}

impl Display for Unescaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n') => f.write_char('\n')?,
                    Some('r') => f.write_char('\r')?,
                    Some('e') => f.write_char('\x1e')?,
                    Some(c) => f.write_char(c)?,
                    None => f.write_char('\\')?,
                },
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
