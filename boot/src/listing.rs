//! The fast path of a function, from a disassembler's listing: its instructions, normalised, counted and judged.
//!
//! The fast path is what runs from the entry to the first `ret` when no conditional jump is taken; the compiler lays
//! a function out that way if the rest is `#[cold]`. Normalised means that addresses give way to names, so that the
//! listing changes only if the code does: a jump goes to `slow` (further down in the function) or to another
//! function's name, and a displacement that is an address of the kernel image becomes the name of what lies there.

use anyhow::{Context, Result, bail};

/// A fast path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FastPath {
    /// The instructions, normalised.
    pub(crate) code: Vec<String>,
    pub(crate) counts: Counts,
}

/// Instructions of the kinds that cost; those that only compute in registers are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) branches: usize,
    pub(crate) loads: usize,
    pub(crate) stores: usize,
    /// Read, modified and written back, by one instruction.
    pub(crate) updates: usize,
}

/// Reads `llvm-objdump`'s Intel-style listing of one function. `name_of` says what lies at an address.
///
/// Refused are instructions that a fast path must not have: calls, locked instructions, exchanges with memory (which lock
/// without saying so), jumps that are always taken, and loops.
pub(crate) fn fast_path(listing: &str, name_of: impl Fn(u64) -> Option<String>) -> Result<FastPath> {
    let mut path = FastPath::default();
    for line in listing.lines() {
        let Some((at, text)) = instruction(line) else {
            continue;
        };
        let (op, operands) = text.split_once(' ').unwrap_or((&text, ""));
        match op {
            _ if op.starts_with("call") => bail!("a call: {text}"),
            _ if op.starts_with("lock") => bail!("a locked instruction: {text}"),
            "xchg" if in_memory(operands) => bail!("an exchange with memory, which locks: {text}"),
            "jmp" => bail!("a jump that is always taken: {text}"),
            _ if op.starts_with('j') => {
                let (to, symbol) = target(operands).with_context(|| format!("where to? {text}"))?;
                if to <= at && symbol.contains('+') {
                    bail!("a loop: {text}");
                }
                let to = if symbol.contains('+') {
                    "slow".into()
                } else {
                    name(symbol)
                };
                path.counts.branches += 1;
                path.code.push(format!("{op:<6} {to}"));
                continue;
            }
            _ => {}
        }
        path.counts.add(op, operands);
        path.code.push(
            format!("{op:<6} {}", addresses(operands, &name_of))
                .trim_end()
                .to_string(),
        );
        if op == "ret" {
            return Ok(path);
        }
    }
    bail!("no `ret` on the path without a jump")
}

/// Address and text of a line that shows an instruction.
fn instruction(line: &str) -> Option<(u64, String)> {
    let (at, text) = line.split_once(':')?;
    let at = u64::from_str_radix(at.trim(), 16).ok()?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some((at, text))
}

/// `0xffffffff80001000 <symbol+0x10>`.
fn target(operands: &str) -> Option<(u64, &str)> {
    let (at, symbol) = operands.split_once(" <")?;
    Some((
        u64::from_str_radix(at.strip_prefix("0x")?, 16).ok()?,
        symbol.strip_suffix('>')?,
    ))
}

/// A symbol as people write it, without its hash.
pub(crate) fn name(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

fn in_memory(operand: &str) -> bool {
    operand.contains('[') || operand.contains("gs:")
}

impl Counts {
    fn add(&mut self, op: &str, operands: &str) {
        let to = operands.split(", ").next().unwrap_or("");
        match op {
            "lea" | "nop" => {}
            "push" => self.stores += 1,
            "pop" => self.loads += 1,
            "cmp" | "test" => self.loads += usize::from(in_memory(operands)),
            _ if in_memory(to) && (op.starts_with("mov") || op.starts_with("set")) => self.stores += 1,
            _ if in_memory(to) => self.updates += 1,
            _ => self.loads += usize::from(in_memory(operands)),
        }
    }
}

/// Replaces displacements that are addresses: the image lies in the top 2 GiB, so they look like `- 0x7fe01000`.
fn addresses(operands: &str, name_of: impl Fn(u64) -> Option<String>) -> String {
    let Some((before, rest)) = operands.split_once("- 0x") else {
        return operands.to_string();
    };
    let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
    let below = u64::from_str_radix(&rest[..end], 16).unwrap_or(0);
    if below < 1 << 30 {
        return operands.to_string();
    }
    let what = name_of(below.wrapping_neg()).unwrap_or_else(|| "data".into());
    format!("{before}+ {what}{}", &rest[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "k:\tfile format elf64-x86-64\n\nffffffff80001000 <f>:\n";

    fn read(code: &[&str]) -> Result<FastPath> {
        let lines = code
            .iter()
            .enumerate()
            .map(|(i, c)| format!("ffffffff800010{i:02x}:      \t{c}\n"));
        fast_path(&(HEAD.to_string() + &lines.collect::<String>()), |at| {
            (at == 0xffff_ffff_8010_0000).then(|| "TABLE".into())
        })
    }

    #[test]
    fn a_path_ends_at_the_first_ret() {
        let path = read(&[
            "cmp\trdi, 0x8000",
            "ja\t0xffffffff80001080 <f+0x80>",
            "movzx\teax, byte ptr [rdi - 0x7ff00000]",
            "inc\tdword ptr gs:[0x10]",
            "mov\tqword ptr [rax + 0x50], rsi",
            "jne\t0xffffffff80002000 <_ZN4slow4path17h0123456789abcdefE>",
            "ret",
            "call\t0xffffffff80002000 <g>",
        ])
        .expect("a good path");
        let code = [
            "cmp    rdi, 0x8000",
            "ja     slow",
            "movzx  eax, byte ptr [rdi + TABLE]",
            "inc    dword ptr gs:[0x10]",
            "mov    qword ptr [rax + 0x50], rsi",
            "jne    slow::path",
            "ret",
        ];
        assert_eq!(path.code, code);
        let counts = Counts {
            branches: 2,
            loads: 1,
            stores: 1,
            updates: 1,
        };
        assert_eq!(path.counts, counts);
    }

    #[test]
    fn what_costs_too_much_is_refused() {
        for (code, why) in [
            ("call\t0xffffffff80002000 <g>", "a call"),
            ("lock\t\tinc\tdword ptr [rax]", "locked"),
            ("xchg\tqword ptr [rdi], rax", "exchange"),
            ("jmp\t0xffffffff80002000 <g>", "always taken"),
            ("jne\t0xffffffff80001000 <f+0x0>", "loop"),
            ("nop", "no `ret`"),
        ] {
            let said = read(&[code]).expect_err(code).to_string();
            assert!(said.contains(why), "{code}: {said}");
        }
        assert!(read(&["xchg\trax, rdi", "ret"]).is_ok());
    }
}
