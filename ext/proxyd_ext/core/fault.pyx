# cython: cdivision=True
"""The one table of faults: code → HTTP status, source, retry class, words (design.md §2.6; RFC 9209 §2.3)."""
from libc.stdint cimport uint8_t, uint16_t


cdef FaultInfo[FAULT_COUNT] _table


cdef void _set(int code, uint16_t status, uint8_t source, uint8_t retry, const char* word, const char* proxy_error,
               const char* sentence) noexcept nogil:
    _table[code].status = status
    _table[code].source = source
    _table[code].retry = retry
    _table[code].word = word
    _table[code].proxy_error = proxy_error
    _table[code].sentence = sentence
    _table[code].when = 0


cdef void _fill() noexcept nogil:
    cdef int i
    cdef uint8_t client = FAULT_SOURCE_CLIENT, self = FAULT_SOURCE_SELF, up = FAULT_SOURCE_UPSTREAM
    cdef uint8_t never = FAULT_RETRY_NEVER, reused = FAULT_RETRY_IF_REUSED, safe = FAULT_RETRY_SAFE
    for i in range(FAULT_COUNT):
        _set(i, 500, self, never, "internal", "proxy_internal_error", "proxyd met a state that it has no words for")
    _set(FAULT_NONE, 200, self, never, "none", "", "nothing failed")
    _set(FAULT_REQUEST_MALFORMED, 400, client, never, "request_malformed", "http_request_error", "the request is not well-formed HTTP/1.1")
    _set(FAULT_REQUEST_LINE_MALFORMED, 400, client, never, "request_line_malformed", "http_request_error",
         "the request line is not well-formed")
    _set(FAULT_FIELD_MALFORMED, 400, client, never, "field_malformed", "http_request_error", "a header field is not well-formed")
    _set(FAULT_HOST_INVALID, 400, client, never, "host_invalid", "http_request_error",
         "the Host field is missing, repeated or not a host name")
    _set(FAULT_FRAMING_AMBIGUOUS, 400, client, never, "framing_ambiguous", "http_request_error",
         "the length of the request body is ambiguous")
    _set(FAULT_CHUNK_MALFORMED, 400, client, never, "chunk_malformed", "http_request_error", "the chunked request body is not well-formed")
    _set(FAULT_PATH_INVALID, 400, client, never, "path_invalid", "http_request_error", "the path has a bad escape or points above the root")
    _set(FAULT_URI_TOO_LONG, 414, client, never, "uri_too_long", "http_request_error", "the request target is longer than uri_length")
    _set(FAULT_HEAD_TOO_LARGE, 431, client, never, "head_too_large", "http_request_error",
         "the request head is larger than header_size or has more fields than header_count")
    _set(FAULT_BODY_TOO_LARGE, 413, client, never, "body_too_large", "http_request_error", "the request body is larger than body_size")
    _set(FAULT_VERSION_UNSUPPORTED, 505, client, never, "version_unsupported", "http_request_error",
         "only HTTP/1.1 and HTTP/1.0 are spoken here")
    _set(FAULT_METHOD_REFUSED, 405, client, never, "method_refused", "http_request_denied", "the method is not allowed")
    _set(FAULT_TRANSFER_CODING_UNKNOWN, 501, client, never, "transfer_coding_unknown", "http_request_error",
         "only the chunked transfer coding is known here")
    _set(FAULT_EXPECTATION_FAILED, 417, client, never, "expectation_failed", "http_request_error",
         "the only expectation known here is 100-continue")
    _set(FAULT_HEAD_TIMEOUT, 408, client, never, "head_timeout", "http_request_error",
         "the request head did not arrive within header_timeout")
    _set(FAULT_BODY_TIMEOUT, 408, client, never, "body_timeout", "http_request_error", "the request body came slower than min_body_rate")
    _set(FAULT_CLIENT_CLOSED, 499, client, never, "client_closed", "connection_terminated", "the client closed the connection")
    _set(FAULT_CLIENT_STALLED, 499, client, never, "client_stalled", "connection_write_timeout", "the client stopped taking the answer")
    _set(FAULT_CLIENT_LIMIT, 503, client, never, "client_limit", "connection_limit_reached", "this client has too many connections")
    _set(FAULT_LOOP, 508, client, never, "loop", "proxy_loop_detected", "the request came back to the proxy that had sent it")
    _set(FAULT_RATE_LIMITED, 429, self, never, "rate_limited", "http_request_denied", "too many requests: the rate limit is reached")
    _set(FAULT_QUOTA, 429, self, never, "quota_exceeded", "http_request_denied", "the quota of this key is used up")
    _set(FAULT_CONCURRENCY, 429, self, never, "concurrency_limited", "http_request_denied", "too many requests at the same time")
    _set(FAULT_PLACES_FULL, 503, self, never, "route_full", "connection_limit_reached",
         "too many requests are on their way to this service")
    _set(FAULT_PLACES_TIMEOUT, 503, self, never, "route_timeout", "connection_limit_reached",
         "no place for the request came free in time")
    _set(FAULT_SHED, 503, self, never, "shed", "connection_limit_reached", "the request waited too long to be served in time")
    _set(FAULT_OVERLOADED, 503, self, never, "overloaded", "proxy_internal_response", "the proxy is overloaded")
    _set(FAULT_BANNED, 403, self, never, "banned", "http_request_denied", "this client was refused too often and is banned for a while")
    _set(FAULT_UNAUTHENTICATED, 401, self, never, "unauthenticated", "http_request_denied", "the request needs a credential")
    _set(FAULT_CREDENTIAL_REFUSED, 401, self, never, "credential_refused", "http_request_denied", "the credential is not accepted")
    _set(FAULT_AUTH_UNAVAILABLE, 503, self, never, "auth_unavailable", "proxy_internal_error", "the credential cannot be checked now")
    _set(FAULT_FILTER_FAILED, 503, self, never, "filter_failed", "proxy_internal_error", "a filter of this route failed")
    _set(FAULT_PROXY_HEADER, 400, client, never, "proxy_header", "http_request_error",
         "the connection did not begin with a PROXY header that can be believed")
    _set(FAULT_HELLO, 400, client, never, "hello_malformed", "tls_protocol_error", "the connection did not begin with a TLS ClientHello")
    _set(FAULT_PREFACE_TIMEOUT, 408, client, never, "preface_timeout", "connection_read_timeout",
         "the PROXY header or ClientHello did not arrive within header_timeout")
    _set(FAULT_NAME_UNKNOWN, 421, client, never, "name_unknown", "destination_not_found",
         "no route takes the server name of this ClientHello, or the want of one, with its protocols")
    _set(FAULT_CONNECTIONS, 503, self, never, "connections_full", "connection_limit_reached",
         "the listener has as many connections as limits.connections allows")
    _set(FAULT_SERVER_DOWN, 502, up, never, "server_down", "connection_terminated", "the server was taken out while the flow lived")
    _set(FAULT_NO_ROUTE, 404, self, never, "no_route", "destination_not_found", "no route matches this request")
    _set(FAULT_NO_SERVER, 503, self, never, "no_server", "destination_unavailable", "no server of the upstream is available")
    _set(FAULT_MEMORY, 503, self, never, "memory", "proxy_internal_error", "the proxy is out of memory")
    _set(FAULT_FD_EXHAUSTED, 503, self, never, "fd_exhausted", "connection_limit_reached", "the proxy is out of file descriptors")
    _set(FAULT_DRAINING, 503, self, never, "draining", "proxy_internal_response", "the proxy is shutting down")
    _set(FAULT_CONSULT_TIMEOUT, 503, self, never, "consult_timeout", "proxy_internal_error",
         "the decision on this request did not come in time")
    _set(FAULT_CONSULT_FULL, 503, self, never, "consult_full", "proxy_internal_error", "too many requests wait for a decision")
    _set(FAULT_DENIED, 403, self, never, "denied", "http_request_denied", "access is denied")
    _set(FAULT_TOTAL_TIMEOUT, 504, self, never, "total_timeout", "http_response_timeout", "the answer did not come within timeout.total")
    _set(FAULT_HEAD_REWRITE_TOO_LARGE, 431, client, never, "head_too_large", "http_request_error",
         "the request head is too large to be forwarded")
    _set(FAULT_CIRCUIT_OPEN, 503, self, never, "circuit_open", "destination_unavailable",
         "the circuit breaker of the upstream is open: too many of its answers failed")
    _set(FAULT_QUEUE_FULL, 503, self, never, "queue_full", "connection_limit_reached",
         "every server of the upstream is at its limit, and no more requests may wait")
    _set(FAULT_QUEUE_TIMEOUT, 503, self, never, "queue_timeout", "connection_limit_reached",
         "no server of the upstream had room within queue_timeout")
    _set(FAULT_RETRY_BUDGET, 503, self, never, "retry_budget", "destination_unavailable",
         "too many requests of the upstream are being retried")
    _set(FAULT_CONNECT_REFUSED, 502, up, safe, "connect_refused", "connection_refused", "connection refused")
    _set(FAULT_CONNECT_TIMEOUT, 504, up, safe, "connect_timeout", "connection_timeout",
         "the server did not accept the connection within timeout.connect")
    _set(FAULT_CONNECT_UNREACHABLE, 502, up, safe, "connect_unreachable", "destination_ip_unroutable",
         "the server's address is unreachable")
    _set(FAULT_CONNECT_FAILED, 502, up, safe, "connect_failed", "destination_unavailable", "the connection to the server failed")
    _set(FAULT_UPSTREAM_CLOSED, 502, up, reused, "upstream_closed", "connection_terminated",
         "the server closed the connection before it answered")
    _set(FAULT_UPSTREAM_RESET, 502, up, reused, "upstream_reset", "connection_terminated",
         "the server reset the connection before it answered")
    _set(FAULT_UPSTREAM_FIRST_BYTE_TIMEOUT, 504, up, never, "first_byte_timeout", "http_response_timeout",
         "the server did not begin to answer within timeout.first_byte")
    _set(FAULT_UPSTREAM_READ_TIMEOUT, 504, up, never, "read_timeout", "connection_read_timeout",
         "the server paused longer than timeout.between_bytes")
    _set(FAULT_UPSTREAM_WRITE_TIMEOUT, 504, up, never, "write_timeout", "connection_write_timeout", "the server stopped taking the request")
    _set(FAULT_UPSTREAM_HEAD_MALFORMED, 502, up, never, "upstream_head_malformed", "http_protocol_error",
         "the server's answer is not well-formed HTTP")
    _set(FAULT_UPSTREAM_HEAD_TOO_LARGE, 502, up, never, "upstream_head_too_large", "http_response_header_section_size",
         "the head of the server's answer is too large")
    _set(FAULT_UPSTREAM_FRAMING, 502, up, never, "upstream_framing", "http_protocol_error",
         "the length of the server's answer is ambiguous")
    _set(FAULT_UPSTREAM_TRUNCATED, 502, up, never, "upstream_truncated", "http_response_incomplete",
         "the server's answer ended before its declared length")
    _set(FAULT_UPSTREAM_CHUNK, 502, up, never, "upstream_chunk", "http_response_transfer_coding",
         "the chunked answer of the server is not well-formed")
    _set(FAULT_UPGRADE_UNEXPECTED, 502, up, never, "upgrade_unexpected", "http_upgrade_failed",
         "the server switched protocols without being asked")
    _set(FAULT_NOT_CACHED, 504, client, never, "not_cached", "http_request_error",
         "the request asked for a stored answer only, and there is none")
    _set(FAULT_NOT_STORED, 404, client, never, "not_stored", "destination_not_found", "the cache has no such key")
    _set(FAULT_LENGTH_REQUIRED, 411, client, never, "length_required", "http_request_error", "a value needs a Content-Length")
    _set(FAULT_NO_ROOM, 507, self, never, "no_room", "proxy_internal_error", "the cache has no room for the value")
    _set(FAULT_TTL_INVALID, 400, client, never, "ttl_invalid", "http_request_error", "ttl is no number of seconds above 0")
    _set(FAULT_UPSTREAM_TRY_TIMEOUT, 504, up, never, "try_timeout", "http_response_timeout",
         "the server did not answer within timeout.per_try")
    for i in range(FAULT_CONNECT_REFUSED, FAULT_CONNECT_FAILED + 1):
        _table[i].when = FAULT_WHEN_CONNECT
    _table[FAULT_UPSTREAM_CLOSED].when = _table[FAULT_UPSTREAM_RESET].when = FAULT_WHEN_RESET
    _table[FAULT_UPSTREAM_FIRST_BYTE_TIMEOUT].when = _table[FAULT_UPSTREAM_WRITE_TIMEOUT].when = FAULT_WHEN_TIMEOUT
    _table[FAULT_UPSTREAM_TRY_TIMEOUT].when = FAULT_WHEN_TIMEOUT


_fill()


cdef const FaultInfo* fault_info(int code) noexcept nogil:
    if code < 0 or code >= FAULT_COUNT:
        code = FAULT_MEMORY
    return &_table[code]


def faults() -> dict[str, dict[str, object]]:
    """Every fault by its word: {word: {code, status, source, retry, proxy_error, sentence}}; for docs, metrics and tests."""
    cdef int i
    names = ("client", "self", "upstream")
    retries = ("never", "if_reused", "safe")
    out = {}
    for i in range(1, FAULT_COUNT):
        if _table[i].word == b"internal":
            continue
        out.setdefault((<bytes>_table[i].word).decode(), {
            "code": i, "status": _table[i].status, "source": names[_table[i].source], "retry": retries[_table[i].retry],
            "proxy_error": (<bytes>_table[i].proxy_error).decode(), "sentence": (<bytes>_table[i].sentence).decode(),
        })
    return out
