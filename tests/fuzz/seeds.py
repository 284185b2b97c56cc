"""Where each target starts: a few inputs, and the words that its grammar is made of.

Heads and chunked bodies begin with two bytes that the target takes as limits and as places to cut (see proxyd_fuzz/support.pxd);
PROXY headers and ClientHellos with two for the transport and the cuts.
"""
from __future__ import annotations

from pathlib import Path

from tests.reference import client_hello, proxy_header
from tests.support.mmdb import country, mmdb

ROOT = Path(__file__).resolve().parents[2]
_ANY = b"\x01\x00"        # generous limits
_SMALL = b"\x04\x07"      # small ones

_REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a/b?c=d HTTP/1.1\r\nHost: a.example:8080\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabc",
    b"PUT /%41/../b%2Fc HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\nConnection: x-a, close\r\nX-A: 1\r\n\r\n",
    b"GET http://b.example/x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: k\r\n\r\n",
    b"\r\nOPTIONS * HTTP/1.1\r\nhost: a\r\nX-Forwarded-For: 192.0.2.1\r\nVia: 1.0 b\r\nTE: trailers\r\nExpect: 100-continue\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
)
_RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nok",
    b"HTTP/1.0 200\r\nServer: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Folded: a\r\n  b\r\n\tc\r\nX-Space : d\r\nContent-Length: 1, 1\r\nVia: 1.1 a\r\n\r\n",
)
_BODIES = (
    b"0\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\r\nGET",
    b"0a;x=y;z=\"q\"\r\n0123456789\r\n1\r\na\r\n0\r\nX-T: 1\r\nContent-Length: 3\r\nX-U: v\r\n\r\n",
    b"FFFFFFFFFFFFFFFF\r\n",
)
_FIELDS = (
    "Host", "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Expect",
    "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-ID", "Proxy-Authorization", "Date", "Set-Cookie",
)
_VALUES = (
    "chunked", "gzip", "close", "keep-alive", "websocket", "upgrade", "100-continue", "trailers", "9223372036854775807", "[::1]", ":80",
)
_HEAD_WORDS = ("HTTP/1.1", "HTTP/1.0", "\r\n", "\r\n\r\n", "\r\n ", ": ", ", ", *(f"\r\n{name}: " for name in _FIELDS), *_VALUES)
_PATHS = (b"/", b"/a/b", b"/./a/../b", b"/%41%2f%2F%7e", b"/a//b/..", b"/%2e%2e/a", b"/a|b", b"/%00", b"/a/%2E/b;c=d")
_SEARCHES = (
    b"^/api/v[0-9]+/\n/api/v1/x", b"(a+)+$\naaaaaaaa!", b"(?i)abc|[^a-z]{2,3}$\nxABc", b"(?:a?){9}a{9}\naaaaaaaaa",
    b".*x.{40}y\nx", b"(^|/)\\.\n/.",
)
_CACHE_LINES = (
    b"Cache-Control: max-age=60, s-maxage=\"5\", no-cache=\"a, b\", x=\"\\\"\", must-understand\r\nAge: 5, 6\r\n",
    b"CDN-Cache-Control: max-age=60;a=1.5;b, no-store=?0, x=(1 \"a\";p tok), y=:aGk=:, z=@1, d=%\"f%c3%bc\"\r\n",
    b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nExpires: Sunday, 06-Nov-94 08:50:37 GMT\r\nLast-Modified: Sun Nov  6 08:49:37 1993\r\n",
    b"Vary: Accept-Encoding, x , Accept-Language\r\nAccept-Encoding: gzip;q=0.5, *;q=0, br\r\nX: 1 ,  \"a , b\"\r\nAccept-Language: DE\r\n",
    b"ETag: W/\"a\"\r\nIf-None-Match: \"b\", W/\"a\"\r\nIf-Range: \"a\"\r\nConnection: x\r\nX: y\r\nContent-Encoding: gzip\r\n",
)
_CACHE_WORDS = (
    "Cache-Control: ", "CDN-Cache-Control: ", "Pragma: no-cache", "Age: ", "Expires: ", "Date: ", "Last-Modified: ", "Vary: ", "ETag: ",
    "Accept-Encoding", "Accept-Language", "If-None-Match: ", "If-Modified-Since: ", "If-Match: ", "If-Range: ", "Set-Cookie: a",
    "Content-Encoding: ", "Connection: ", "max-age=", "s-maxage=", "no-store", "no-cache", "private", "public", "must-revalidate",
    "must-understand", "stale-while-revalidate=", "stale-if-error=", "max-stale", "min-fresh=", "2147483648", ", ", "\r\n", ";q=0", "*",
    "gzip", "br", "zstd", "W/", '"a"', "?1", "=(", " GMT", "Sun, 06 Nov 1994 08:49:37 GMT",
)
_DATES = (
    b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994", b"Tue, 29 Feb 2000 23:59:60 GMT",
)
_CONFIG_WORDS = (
    "listen", "listeners", "bind", "to", "routes", "match", "upstreams", "servers", "balance", "health", "policies", "use", "admin", "log",
    "vars", "include", "runtime", "threads", "tests", "cache", "timeout", "retry", "respond", "redirect", "limits", "client_ip", "weight",
    "address", "round_robin", "least_conn", "p2c", "hash", "10s", "5ms", "16KiB", "20/s", "50%", "none", "${env:HOME}", "${env:X:-y}",
    "${a}", "/x/*", "127.0.0.1:80", "[::1]:80", ":8080", "unix:/x", "\n  ", ": ", "- ", "{", "}", "[", "]", "|\n", ">\n", "&a ", "*a",
    "<<: ", "!!str ", "# ", "'", '"',
)

_FILTERED = (
    b"\x00\x01q=1&key=k\nAuthorization: Bearer token\r\nOrigin: https://a.example.com\r\nCookie: a=b; c=d\r\nX-User: u\r\n",
    b"\x01\x02key=a&key=b\nAuthorization: Basic dDp0\r\nX-Key: k\r\nX-Key: l\r\nX-A: 1\r\n",
    b"\x02\x03key=a\nOrigin: http://a:8080\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: X-A, x-b\r\n",
    *(b"%c%c\nX-A: 1\r\nX-A: 2\r\nCookie: a=1\r\nauthorization: bearer  x\r\n" % (route, route * 31) for route in range(3, 8)),
)
_COUNTRIES = {"10.0.0.0/8": country("SE"), "10.1.0.0/16": country("NO"), "2001:db8::/32": country("FR"), "2001:db8::1": {"country": "ES"}}

_V4, _V6 = bytes([192, 0, 2, 1, 198, 51, 100, 2, 220, 4, 1, 187]), bytes([32, 1, 13, 184]) * 8 + b"\0\1\0\2"
_FIELDS_V2 = b"\x01\0\2h2\x02\0\x09a.example\x04\0\0\x05\0\2id\x20\0\5\1\0\0\0\0"


def _binary(rest: bytes, command: int = 0x21, kind: int = 0x11) -> bytes:
    """A version 2 PROXY header, with its checksum at the end."""
    front = proxy_header.SIGNATURE + bytes([command, kind]) + (len(rest) + 7).to_bytes(2) + rest + b"\x03\0\4"
    return front + proxy_header.crc32c(front + bytes(4)).to_bytes(4)


_PROXIED = (
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET /", b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 65535\r\n",
    b"PROXY UNKNOWN ffff::1 a b\r\n", b"PROXY UNKNOWN\r\n", _binary(_V4), _binary(_V4 + _FIELDS_V2), _binary(_V6 + _FIELDS_V2, kind=0x21),
    _binary(_V4, kind=0x12), _binary(_V6, kind=0x22), _binary(bytes(216), kind=0x31), _binary(b"", 0x20, 0), _binary(b"", 0x21, 0),
)
_HELLO = client_hello.message(
    client_hello.server_name(b"a.example"), client_hello.alpn(b"h2", b"http/1.1"), client_hello.supported_versions(0x0A0A, 0x0304, 0x0303),
    client_hello.extension(client_hello.ECH, b"\0"),
)
_HELLOS = (
    client_hello.records(_HELLO), client_hello.records(_HELLO, [1, 3, 9]), client_hello.records(_HELLO, range(1, 64)),
    client_hello.records(client_hello.message()), b"\x80\x2e\x01\x00\x02", b"GET / HTTP/1.1\r\n",
    *(file.read_bytes() for file in sorted((ROOT / "tests/ext/preface/hellos").glob("*.bin"))),
)

SEEDS: dict[str, tuple[bytes, ...]] = {
    "request_head": tuple(prefix + text for text in _REQUESTS for prefix in (_ANY, _SMALL)),
    "response_head": tuple(prefix + text for text in _RESPONSES for prefix in (_ANY, _SMALL)),
    "chunk": tuple(prefix + text for text in _BODIES for prefix in (_ANY, _SMALL)),
    "path": _PATHS,
    "authority": (b"a", b"a.example.:8080", b"[::1]:443", b"192.0.2.1:1", b"[::ffff:192.0.2.1]", b"a:0", b"a:65536"),
    "regex": _SEARCHES,
    "cache_control": _CACHE_LINES,
    "vary": _CACHE_LINES,
    "stored_lines": _CACHE_LINES,
    "range": (b"\x40bytes=0-0,-1", b"\x00bytes=5-", b"\xffbytes=0-1 ,, 300-400,200-250", b"\x08bytes=18446744073709551615-"),
    "http_date": tuple(b"\x65" + date for date in _DATES),
    "filters": _FILTERED,
    "changed_answer": tuple(bytes([change, change * 50]) + text for text in _RESPONSES for change in range(6)),
    "country": (
        *(mmdb(_COUNTRIES, record_size=size) for size in (24, 28, 32)),
        mmdb({net: _COUNTRIES[net] for net in ("10.0.0.0/8", "10.1.0.0/16")}, ip_version=4),
    ),
    "proxy_header": tuple(bytes([transport, n]) + text for n, text in enumerate(_PROXIED) for transport in (0, 1)),
    "client_hello": tuple(bytes([n, n]) + text for n, text in enumerate(_HELLOS)),
    "redact": (
        b"\x01a=1&token=abc;d&x=%74oken", b"\x01%54OKEN=&a+b=x&a%20b=y#token=z", b"\x00https://a/?token=1&b=2#token=3;token=4",
    ),
    "limits": (bytes(range(64)), (bytes(16) + b"\x03\x00") * 3, bytes.fromhex("0401040105010401060106010601") * 2),
    "config": tuple(file.read_bytes() for file in sorted((ROOT / "config").rglob("*.yaml")) if file.stat().st_size < 8192),
}
WORDS: dict[str, tuple[str, ...]] = {
    "request_head": ("GET ", "OPTIONS * ", "CONNECT ", "http://", *_HEAD_WORDS),
    "response_head": ("200 ", "101 ", "204 ", "304 ", *_HEAD_WORDS),
    "chunk": ("\r\n", "0\r\n", "\r\n\r\n", ";", "=", '"', "ffffffffffffffff", "7fffffffffffffff", "\r\nX-T: ", "Content-Length: "),
    "path": ("/", "/.", "/..", "%2e", "%2E", "%2f", "%2F", "%25", "%00", "%7e", "//"),
    "authority": ("[", "]", ":", "::", "[::1]", ".", "65535", "0"),
    "regex": ("(?:", "(?i)", "(?i:", "[^", "a-z", "{2,3}", "{,4}", "{20}", "|", ")*", ")+?", "\\d", "\\W", "\\x41", "^", "$", "\n", "é"),
    "cache_control": _CACHE_WORDS,
    "vary": _CACHE_WORDS,
    "stored_lines": _CACHE_WORDS,
    "range": ("bytes=", "-", ",", "0-", "-1", "18446744073709551615", "18446744073709551616"),
    "http_date": ("Sun", "Sunday", "Nov", "GMT", ", ", "-", ":", "94", "1994", "29", "Feb", "day"),
    "filters": (
        "Authorization: ", "Bearer ", "Basic ", "bearer  ", "Cookie: a=", "; a=", "X-Key: ", "X-A: ", "X-User: ", "Origin: ", "null",
        "https://a.example.com", "http://a:8080", "Access-Control-Request-Method: ", "Access-Control-Request-Headers: ", "x-a", ", ",
        "\r\n", "key=", "&key=", "q=", "&", "%", "\n",
    ),
    "changed_answer": ("200 ", "204 ", "304 ", "404 ", "\r\nX-A: ", "\r\nServer: ", "\r\nSet-Cookie: ", *_HEAD_WORDS),
    "redact": ("token", "%74oken", "a+b", "a%20b", "=", "&", ";", "?", "#", "***", "%"),
    "country": ("MaxMind.com", "node_count", "record_size", "ip_version", "country", "iso_code", "\x00\x00\x10"),
    "proxy_header": (
        "PROXY ", "TCP4 ", "TCP6 ", "UNKNOWN", "192.0.2.1 ", "::1 ", "::", "ffff:", " 65535", " 0", "\r\n", "\r\n\r\n\0\r\nQUIT\n",
        "\x21\x11", "\x21\x21", "\x21\x12", "\x20\0", "\0\x0c", "\0\x24", "\x01\0\x02", "\x02\0\x01", "\x03\0\x04",
        "\x04\0\0", "\x05\0\x02",
    ),
    "client_hello": (
        "\x16\x03\x01", "\x16\x03\x03\0\x01", "\x01\0\0", "\x03\x03", "\x03\x04", "\0\0\0\x06\0\x04\0\0\x01a",
        "\0\x10\0\x05\0\x03\x02h2", "\0\x2b\0\x03\x02\x03\x04", "\x0a\x0a\0\0", ".", "-", "_", "\0\x33", "\x01\0\0\0",
    ),
    "limits": tuple(bytes([what, 3]).decode("latin-1") for what in range(64)),
    "config": _CONFIG_WORDS,
}


def dictionary(target: str) -> str:
    """The words in libFuzzer's form: one quoted, escaped entry a line."""
    escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in WORDS[target])
    return "".join(f'"{entry}"\n' for entry in escaped)
