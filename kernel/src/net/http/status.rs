//! Status codes by name, and their texts.
#![forbid(unsafe_code)]

macro_rules! codes {
    ($($code:literal $name:ident $text:literal;)*) => {
        $(#[doc = concat!("`", $code, " ", $text, "`")] pub const $name: u16 = $code;)*

        /// The text that goes with a code on the wire; empty for codes without one.
        ///
        /// ```
        /// assert_eq!(burrow::net::http::status::text(404), "Not Found");
        /// ```
        pub fn text(code: u16) -> &'static str {
            match code {
                $($code => $text,)*
                _ => "",
            }
        }
    };
}

codes! {
    100 CONTINUE "Continue";
    101 SWITCHING_PROTOCOLS "Switching Protocols";
    200 OK "OK";
    201 CREATED "Created";
    202 ACCEPTED "Accepted";
    204 NO_CONTENT "No Content";
    205 RESET_CONTENT "Reset Content";
    206 PARTIAL_CONTENT "Partial Content";
    300 MULTIPLE_CHOICES "Multiple Choices";
    301 MOVED_PERMANENTLY "Moved Permanently";
    302 FOUND "Found";
    303 SEE_OTHER "See Other";
    304 NOT_MODIFIED "Not Modified";
    307 TEMPORARY_REDIRECT "Temporary Redirect";
    308 PERMANENT_REDIRECT "Permanent Redirect";
    400 BAD_REQUEST "Bad Request";
    401 UNAUTHORIZED "Unauthorized";
    403 FORBIDDEN "Forbidden";
    404 NOT_FOUND "Not Found";
    405 METHOD_NOT_ALLOWED "Method Not Allowed";
    406 NOT_ACCEPTABLE "Not Acceptable";
    408 REQUEST_TIMEOUT "Request Timeout";
    409 CONFLICT "Conflict";
    410 GONE "Gone";
    411 LENGTH_REQUIRED "Length Required";
    412 PRECONDITION_FAILED "Precondition Failed";
    413 CONTENT_TOO_LARGE "Content Too Large";
    414 URI_TOO_LONG "URI Too Long";
    415 UNSUPPORTED_MEDIA_TYPE "Unsupported Media Type";
    417 EXPECTATION_FAILED "Expectation Failed";
    418 IM_A_TEAPOT "I'm a teapot";
    422 UNPROCESSABLE_CONTENT "Unprocessable Content";
    429 TOO_MANY_REQUESTS "Too Many Requests";
    431 HEADER_FIELDS_TOO_LARGE "Request Header Fields Too Large";
    500 INTERNAL_SERVER_ERROR "Internal Server Error";
    501 NOT_IMPLEMENTED "Not Implemented";
    502 BAD_GATEWAY "Bad Gateway";
    503 SERVICE_UNAVAILABLE "Service Unavailable";
    504 GATEWAY_TIMEOUT "Gateway Timeout";
    505 VERSION_NOT_SUPPORTED "HTTP Version Not Supported";
}

/// Has a response with this code no body, whatever its headers say?
pub(super) fn is_bodyless(code: u16) -> bool {
    code < 200 || code == NO_CONTENT || code == NOT_MODIFIED
}
