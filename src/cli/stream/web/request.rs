//! What a client asks for.

/// The head of a request is at most so long; browsers send less than one KB.
pub const MAX_HEAD: usize = 8 << 10;

/// At most so many header fields.
const MAX_FIELDS: usize = 64;

/// A GET request.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Without the query.
    pub path: String,
    query: String,
    /// What the client takes this server's name to be; empty if it does not say.
    pub host: String,
}

/// Status, and what to do.
pub type Refusal = (u16, &'static str);

impl Request {
    /// Reads a request from the first bytes of a connection; `None` if its head is not complete.
    pub fn parse(bytes: &[u8]) -> Result<Option<Request>, Refusal> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut head = httparse::Request::new(&mut fields);
        match head.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err((431, "the request is too long\n"));
            }
            Err(_) => return Err((400, "this is no request of HTTP/1.1\n")),
        }
        if head.method != Some("GET") {
            return Err((405, "only GET is answered\n"));
        }
        let target = head.path.unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut hosts = head.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
        let host = hosts.next().and_then(|field| std::str::from_utf8(field.value).ok()).unwrap_or_default();
        if hosts.next().is_some() {
            return Err((400, "more than one Host\n"));
        }
        Ok(Some(Request { path: path.into(), query: query.into(), host: host.trim().into() }))
    }

    /// The value of `name` in the query, as it is written there.
    #[cfg_attr(not(feature = "page"), allow(dead_code, reason = "the page alone has a query"))]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|pair| pair.0 == name)
            .map(|pair| pair.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_or_refused() {
        let request = Request::parse(b"GET /events?a=1&token=f00 HTTP/1.1\r\nhost: localhost:1\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!((request.path.as_str(), request.host.as_str()), ("/events", "localhost:1"));
        assert_eq!((request.value("token"), request.value("b")), (Some("f00"), None));
        assert_eq!(Request::parse(b"GET / HTTP/1.1\r\nHost: a\r\n"), Ok(None));
        let status = |bytes: &[u8]| Request::parse(bytes).unwrap_err().0;
        assert_eq!(status(b"POST / HTTP/1.1\r\n\r\n"), 405);
        assert_eq!(status(b"\x16\x03\x01\x02\x00"), 400);
        assert_eq!(status(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        let long = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'a'; MAX_HEAD]].concat();
        assert_eq!(status(&long), 431);
        let many = [b"GET / HTTP/1.1\r\n".as_slice(), &b"a: b\r\n".repeat(MAX_FIELDS + 1), b"\r\n"].concat();
        assert_eq!(status(&many), 431);
    }
}
