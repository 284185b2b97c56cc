"""Writing heads: the forwarded request, the forwarded response, and answers that proxyd makes itself.

Runs of bytes between edits are copied whole into one flat buffer (cheaper than an iovec, reference/performance.md §3).
"""
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport Head


ctypedef struct RequestEdits:
    Slice path            # normalised path ("*" for OPTIONS *)
    Slice query           # data NULL: no '?'
    Slice client_ip       # text for X-Forwarded-For; an IPv6 address without brackets
    Slice proto           # "http" or "https"
    Slice request_id      # value for X-Request-ID
    Slice trace           # value for traceparent; data NULL: the client's stays
    bint trace_new        # it is not the client's trace: what its tracestate says belongs to another
    Slice via             # pseudonym for Via, e.g. "proxyd"
    Slice host            # replaces Host when data is not NULL
    Slice extra           # whole field lines to add (each with CRLF); may be empty
    uint64_t replaced     # bits of the FIELD_* that `extra` sets: of those that we would write, none is written a second time
    bint trusted          # the peer may be believed: X-Forwarded-* and X-Request-ID are kept (X-Forwarded-For appended to)
    bint upgrade          # forward as a WebSocket upgrade
    uint8_t body          # BODY_NONE, BODY_LENGTH or BODY_CHUNKED: what we will send
    uint64_t content_length


ctypedef struct ResponseEdits:
    Slice extra           # whole field lines to add (each with CRLF); may be empty
    Slice cookies         # the same, for Set-Cookie lines of our own
    Slice date            # IMF-fixdate, added when the origin sent no Date (RFC 9110 §6.6.1)
    bint close            # say Connection: close
    bint keep_alive       # say Connection: keep-alive (to an HTTP/1.0 client that asked)
    bint upgrade          # 101 that switches to websocket
    uint8_t body          # BODY_*: how the body will be framed; BODY_NONE with has_content_length keeps Content-Length (HEAD, 304)
    bint has_content_length
    uint64_t content_length


# Write the head to send to an origin, in HTTP/1.1.  Hop-by-hop fields, those named in Connection, and fields that we set are left out;
# Host comes first.  Returns its size or -FAULT_HEAD_REWRITE_TOO_LARGE when it does not fit in cap.
cdef int write_request_head(const Head* head, const RequestEdits* edits, uint8_t* out, size_t cap) noexcept nogil

# Write the head to send to a client, always as HTTP/1.1 (RFC 9110 §2.5).  Returns its size or -FAULT_UPSTREAM_HEAD_TOO_LARGE.
cdef int write_response_head(const Head* head, const ResponseEdits* edits, uint8_t* out, size_t cap) noexcept nogil

# "HTTP/1.1 200 OK\r\n" for an answer of our own; returns bytes written (< 64).  The reason phrase of a status code (RFC 9110 §15), "" if
# unknown.
cdef int write_status_line(uint16_t status, uint8_t* out) noexcept nogil
cdef const char* reason_phrase(uint16_t status) noexcept nogil

# Decimal digits of a number; returns bytes written (<= 20).
cdef int write_decimal(uint64_t value, uint8_t* out) noexcept nogil

# IMF-fixdate (RFC 9110 §5.6.7) of a POSIX time in seconds: 29 bytes.
cdef void write_http_date(uint64_t seconds, uint8_t* out) noexcept nogil
