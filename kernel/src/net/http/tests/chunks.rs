//! Chunked bodies, cut at every place.
#![forbid(unsafe_code)]

use alloc::{format, vec::Vec};

use super::super::{Error, chunked::Chunked};

fn decode(text: &[u8], step: usize) -> Result<Option<Vec<u8>>, Error> {
    let (mut c, mut data, mut input) = (Chunked::new(), Vec::new(), text);
    let mut seen = 0;
    while !c.is_done() {
        if seen == input.len() {
            return Ok(None);
        }
        let piece = &input[seen..(seen + step).min(input.len())];
        let (skip, n) = c.next(piece, 7)?;
        data.extend_from_slice(&piece[skip..skip + n]);
        seen += skip + n;
    }
    input = &input[seen..];
    assert!(
        input.is_empty() || input == b"next",
        "the next request is untouched"
    );
    Ok(Some(data))
}

#[test]
fn chunked_bodies() {
    for (text, data) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\nnext", "hello"),
        (
            "5;a=b\r\nhello\r\n00a \r\n0123456789\r\n0\r\nX: trailer\r\nY: z\r\n\r\n",
            "hello0123456789",
        ),
        ("A\r\n0123456789\r\n0;last\r\n\r\nnext", "0123456789"),
    ] {
        for step in [1, 2, 3, 1000] {
            assert_eq!(
                decode(text.as_bytes(), step).unwrap().unwrap(),
                data.as_bytes(),
                "{text:?}"
            );
        }
        for end in 0..text.trim_end_matches("next").len() {
            assert_eq!(
                decode(&text.as_bytes()[..end], 1000),
                Ok(None),
                "{:?}",
                &text[..end]
            );
        }
    }
    let wrapping = format!("1;{}\r\na\r\n", "x".repeat(5000));
    let trailers = format!("0\r\n{}", "X: y\r\n".repeat(1000));
    for text in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        " 5\r\nhello\r\n",
        ";\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\rx",
        "fffffffffffffffff\r\n",
        "0x5\r\nhello\r\n",
        "0\r\nX: y\n\r\n",
        &wrapping,
        &trailers,
    ] {
        for step in [1, 1000] {
            assert!(
                matches!(decode(text.as_bytes(), step), Err(Error::Malformed(_))),
                "{text:?}"
            );
        }
    }
}
