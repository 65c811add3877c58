//! Reads the two things the macros need to know: a function's name and test attributes, and the arguments of
//! `#[burrow::test(…)]`. Results are snippets of Rust for the templates in `lib.rs`.

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// A function item without the attributes that are ours.
pub(crate) struct Function {
    pub(crate) name: String,
    /// `::core::option::Option<&str>`: what the panic message must contain.
    pub(crate) should_panic: String,
    /// `::core::option::Option<&str>`: why it is ignored.
    pub(crate) ignore: String,
    /// The item, to be put back.
    pub(crate) item: TokenStream,
}

impl Function {
    pub(crate) fn parse(item: TokenStream) -> Result<Function, String> {
        let mut should_panic = "::core::option::Option::None".to_string();
        let mut ignore = should_panic.clone();
        let mut name = None;
        let mut rest = Vec::new();
        let mut tokens = item.into_iter().peekable();
        while let Some(token) = tokens.next() {
            if name.is_none() && is_punct(&token, '#') {
                if let Some(TokenTree::Group(group)) = tokens.peek()
                    && group.delimiter() == Delimiter::Bracket
                {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    match inner.first().map(ToString::to_string).as_deref() {
                        Some("should_panic") => {
                            should_panic = some(&string_in(&inner));
                            tokens.next();
                            continue;
                        }
                        Some("ignore") => {
                            ignore = some(&string_in(&inner));
                            tokens.next();
                            continue;
                        }
                        _ => {}
                    }
                }
            } else if name.is_none()
                && is_ident(&token, "fn")
                && let Some(TokenTree::Ident(ident)) = tokens.peek()
            {
                name = Some(ident.to_string());
            }
            rest.push(token);
        }
        let name = name.ok_or("expected a function")?;
        Ok(Function {
            name,
            should_panic,
            ignore,
            item: rest.into_iter().collect(),
        })
    }
}

/// The arguments of `#[burrow::test(…)]`.
pub(crate) struct Arguments {
    pub(crate) timeout: String,
    pub(crate) exit: String,
    pub(crate) says: String,
}

impl Arguments {
    pub(crate) fn parse(args: TokenStream) -> Result<Arguments, String> {
        let mut found = Arguments {
            timeout: "60".into(),
            exit: "::core::option::Option::None".into(),
            says: "\"\"".into(),
        };
        let tokens: Vec<TokenTree> = args.into_iter().collect();
        for pair in tokens
            .split(|token| is_punct(token, ','))
            .filter(|pair| !pair.is_empty())
        {
            let [TokenTree::Ident(key), equals, TokenTree::Literal(value)] = pair else {
                return Err("expected `key = literal`".into());
            };
            if !is_punct(equals, '=') {
                return Err(format!("expected `{key} = literal`"));
            }
            match key.to_string().as_str() {
                "timeout" => found.timeout = value.to_string(),
                "exit" => found.exit = some(&value.to_string()),
                "says" => found.says = value.to_string(),
                other => return Err(format!("unknown argument `{other}`: timeout, exit or says")),
            }
        }
        Ok(found)
    }
}

fn some(value: &str) -> String {
    format!("::core::option::Option::Some({value})")
}

/// The string literal in `#[x = "…"]` or `#[x(key = "…")]`, else an empty one.
fn string_in(tokens: &[TokenTree]) -> String {
    for token in tokens {
        match token {
            TokenTree::Literal(literal) => return literal.to_string(),
            TokenTree::Group(group) => return string_in(&group.stream().into_iter().collect::<Vec<_>>()),
            _ => {}
        }
    }
    "\"\"".into()
}

fn is_punct(token: &TokenTree, c: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == c)
}

fn is_ident(token: &TokenTree, text: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == text)
}
