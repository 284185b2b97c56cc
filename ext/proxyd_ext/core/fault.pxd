"""Faults: every expected failure is a code with a source and a retry class (design.md §2.6). No exception is raised for them.

A function that may fail returns `-FAULT_X` or 0 (or a size). One table (`fault.pyx`) maps a code to its HTTP status, metric
label, RFC 9209 error type and sentence.
"""
from libc.stdint cimport uint8_t, uint16_t


cdef enum:
    FAULT_NONE = 0
    # The client's request is not acceptable.
    FAULT_REQUEST_MALFORMED = 1          # 400: not HTTP, or ambiguous in a way RFC 9112 tells us to refuse
    FAULT_REQUEST_LINE_MALFORMED = 2     # 400
    FAULT_FIELD_MALFORMED = 3            # 400: bad name, space before the colon, obs-fold, NUL, bare CR or LF
    FAULT_HOST_INVALID = 4               # 400: missing, repeated or malformed Host
    FAULT_FRAMING_AMBIGUOUS = 5          # 400: CL with TE, differing CLs, TE not ending in chunked
    FAULT_CHUNK_MALFORMED = 6            # 400
    FAULT_PATH_INVALID = 7               # 400: bad escape, or a path above the root
    FAULT_URI_TOO_LONG = 8               # 414
    FAULT_HEAD_TOO_LARGE = 9             # 431: bytes or fields over the limit
    FAULT_BODY_TOO_LARGE = 10            # 413
    FAULT_VERSION_UNSUPPORTED = 11       # 505
    FAULT_METHOD_REFUSED = 12            # 405: TRACE, CONNECT
    FAULT_TRANSFER_CODING_UNKNOWN = 13   # 501
    FAULT_EXPECTATION_FAILED = 14        # 417
    FAULT_HEAD_TIMEOUT = 15              # 408: the head did not arrive in time
    FAULT_BODY_TIMEOUT = 16              # 408: the body came slower than min_body_rate
    FAULT_CLIENT_CLOSED = 17             # 499 in logs: the client went away
    FAULT_CLIENT_STALLED = 18            # the client did not take the answer in time
    FAULT_CLIENT_LIMIT = 19              # 503: connections per client
    FAULT_LOOP = 20                      # 508: our own Via came back
    # proxyd itself.
    FAULT_NO_ROUTE = 30                  # 404
    FAULT_NO_SERVER = 31                 # 503: no server of the upstream is usable
    FAULT_MEMORY = 32                    # 503
    FAULT_FD_EXHAUSTED = 33              # 503
    FAULT_DRAINING = 34                  # 503
    FAULT_CONSULT_TIMEOUT = 35           # 503: the control plane did not answer in time and the default is closed
    FAULT_CONSULT_FULL = 36              # 503
    FAULT_DENIED = 37                    # 403
    FAULT_TOTAL_TIMEOUT = 38             # 504: timeout.total
    FAULT_HEAD_REWRITE_TOO_LARGE = 39    # 431: the head with our fields added does not fit
    FAULT_CIRCUIT_OPEN = 40              # 503: the upstream's circuit breaker is open
    FAULT_QUEUE_FULL = 41                # 503: every server has max_requests, and max_pending wait already
    FAULT_QUEUE_TIMEOUT = 42             # 503: no server had room within queue_timeout
    FAULT_RETRY_BUDGET = 43              # counted only: a retry that the budget did not admit
    # The origin.
    FAULT_CONNECT_REFUSED = 50           # 502
    FAULT_CONNECT_TIMEOUT = 51           # 504
    FAULT_CONNECT_UNREACHABLE = 52       # 502
    FAULT_CONNECT_FAILED = 53            # 502: any other error of connect()
    FAULT_UPSTREAM_CLOSED = 54           # 502: closed before a response began
    FAULT_UPSTREAM_RESET = 55            # 502: reset before a response began
    FAULT_UPSTREAM_FIRST_BYTE_TIMEOUT = 56   # 504
    FAULT_UPSTREAM_READ_TIMEOUT = 57     # between_bytes; the answer has begun, so it is cut off
    FAULT_UPSTREAM_WRITE_TIMEOUT = 58    # 504: the origin does not take the request
    FAULT_UPSTREAM_HEAD_MALFORMED = 59   # 502
    FAULT_UPSTREAM_HEAD_TOO_LARGE = 60   # 502
    FAULT_UPSTREAM_FRAMING = 61          # 502: ambiguous framing of the answer
    FAULT_UPSTREAM_TRUNCATED = 62        # the answer ended before its declared length
    FAULT_UPSTREAM_CHUNK = 63            # bad chunk framing in the answer
    FAULT_UPGRADE_UNEXPECTED = 64        # 502: 101 that nobody asked for
    FAULT_UPSTREAM_TRY_TIMEOUT = 65      # 504: timeout.per_try
    FAULT_NOT_CACHED = 66                # 504: only-if-cached, and it is not (RFC 9111 §5.2.1.7)
    FAULT_NOT_STORED = 67                # 404: no such key in the cache for applications
    FAULT_LENGTH_REQUIRED = 68           # 411: a value is put with a Content-Length
    FAULT_NO_ROOM = 69                   # 507: the cache has no memory for the value
    FAULT_TTL_INVALID = 70               # 400: ttl of a value
    # Limits and the gateway.
    FAULT_RATE_LIMITED = 71              # 429: over a rate limit
    FAULT_QUOTA = 72                     # 429: the quota of a usage plan is used up
    FAULT_CONCURRENCY = 73               # 429: too many requests of one key in flight
    FAULT_PLACES_FULL = 74               # 503: no place for the route, and no room to wait
    FAULT_PLACES_TIMEOUT = 75            # 503: no place for the route within queue_timeout
    FAULT_SHED = 76                      # 503: given up in the queue, for those who can still be served in time
    FAULT_OVERLOADED = 77                # 503: the overload guard sheds this class
    FAULT_BANNED = 78                    # 403: refused too often lately
    FAULT_UNAUTHENTICATED = 79           # 401: no credential
    FAULT_CREDENTIAL_REFUSED = 80        # 401 (or as the verdict says): the credential is not good
    FAULT_AUTH_UNAVAILABLE = 81          # 503: nobody could say whether it is
    FAULT_FILTER_FAILED = 82             # 503: a filter of the user's own failed, and fails closed
    # What comes before a connection's own bytes, and flows of TCP and UDP.  Their statuses stand in no answer.
    FAULT_PROXY_HEADER = 83              # 400: no well-formed PROXY header, or from somebody who is not trusted to send one
    FAULT_HELLO = 84                     # 400: no well-formed ClientHello
    FAULT_PREFACE_TIMEOUT = 85           # 408: one of them did not come in time
    FAULT_NAME_UNKNOWN = 86              # 421: no route takes the server name, or the protocols that are offered
    FAULT_CONNECTIONS = 87               # 503: limits.connections of the listener
    FAULT_SERVER_DOWN = 88               # 502: the server of the flow was taken out, and on_down says close
    FAULT_COUNT = 89

    FAULT_SOURCE_CLIENT = 0
    FAULT_SOURCE_SELF = 1
    FAULT_SOURCE_UPSTREAM = 2

    # When may the exchange be tried again on another connection?
    FAULT_RETRY_NEVER = 0
    FAULT_RETRY_IF_REUSED = 1   # only if the origin connection had served before (the keep-alive race, RFC 9112 §9.3.1)
    FAULT_RETRY_SAFE = 2        # nothing was sent: always

    # Under which condition of `retry.when` does it fall?
    FAULT_WHEN_CONNECT = 1 << 0
    FAULT_WHEN_RESET = 1 << 1
    FAULT_WHEN_TIMEOUT = 1 << 2


ctypedef struct FaultInfo:
    uint16_t status          # HTTP status that we answer when the response has not begun
    uint8_t source           # FAULT_SOURCE_*
    uint8_t retry            # FAULT_RETRY_*
    uint8_t when             # FAULT_WHEN_*; 0: under none
    const char* word         # metric label and log word
    const char* proxy_error  # RFC 9209 §2.3 proxy error type
    const char* sentence     # plain words for the error body and the log's `why`


cdef const FaultInfo* fault_info(int code) noexcept nogil
