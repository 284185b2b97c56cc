"""The access record: what an engine hands to the log thread for each exchange and each flow (interface.md §6)."""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t, uint8_t
from proxyd_ext.core.slice cimport Slice


cdef enum:
    STATUS_BY_UPSTREAM = 0
    STATUS_BY_PROXYD = 1
    STATUS_BY_CACHE = 2

    T_NONE = 0xFFFFFFFF       # a time that does not apply

    # What the cache did for a request of a route that has one; words in words.pxd.
    CACHE_NONE = 0            # the route has no cache
    CACHE_HIT = 1             # answered from memory, fresh
    CACHE_MISS = 2            # nothing was stored
    CACHE_STALE = 3           # answered from memory, no longer fresh (RFC 5861)
    CACHE_EXPIRED = 4         # what was stored was too old: fetched again
    CACHE_REVALIDATED = 5     # what was stored was too old, and the server said that it still holds (304)
    CACHE_BYPASS = 6          # the route or the request asked for no cache
    CACHE_COALESCED = 7       # answered by another request's fetch
    CACHE_UNCACHEABLE = 8     # known not to be stored: went to the server on its own
    CACHE_COUNT = 9

    # What is known of the request's trace (W3C Trace Context).
    TRACE_NONE = 0            # no more than `trace_id`, if the client told one: it is passed on untouched
    TRACE_UNSAMPLED = 1       # it is ours to name, and nobody wants to see it
    TRACE_SAMPLED = 2         # it is exported

    TRIES_KEPT = 4            # failed tries of a request that its record tells; further ones are only counted
    TRY_LABEL = 48            # bytes kept of a server's address

    # What the record speaks of.
    RECORD_HTTP = 0           # an exchange
    RECORD_TCP = 1            # a flow of bytes ...
    RECORD_TLS = 2            # ... that began with a ClientHello
    RECORD_UDP = 3            # a flow of datagrams


ctypedef struct TryNote:      # a try that failed
    uint32_t us               # how long it took
    uint16_t fault            # FAULT_*; 0: the answer's status was a reason to try again
    uint16_t status
    uint8_t size              # of `label`
    uint8_t[TRY_LABEL] label  # the server's address


ctypedef struct AccessRecord:
    uint8_t kind              # RECORD_*
    uint8_t end               # END_* of core/ending
    int64_t time_us           # wall clock at the end of the exchange or flow, microseconds since the epoch
    uint64_t id               # X-Request-ID made by proxyd, 16 hex digits
    uint64_t bytes_in         # request body bytes taken from the client; of a flow: all
    uint64_t bytes_out        # bytes given to the client, head included
    uint64_t body_out         # of these: bytes of the body, without its framing
    uint64_t config           # first 48 bits of the hash of the config that served it
    uint64_t t_total_us       # from the first byte of the request head, or the beginning of the flow, to the end
    uint32_t t_queue_us
    uint32_t t_connect_us     # T_NONE: a pooled connection was used, or none
    uint32_t t_first_byte_us  # from sending the request to the first byte of the answer; T_NONE: no answer
    uint16_t status           # as sent; 499 when the client went away first
    uint16_t engine
    uint16_t client_port
    uint16_t fault            # FAULT_*; 0: none
    uint8_t attempts          # tries; 1 = no retry
    uint8_t status_by         # STATUS_BY_*
    uint8_t minor             # HTTP/1.minor of the request
    uint8_t tls               # 1: https
    uint8_t cache             # CACHE_*
    uint8_t traced            # TRACE_*
    uint32_t cache_age        # seconds: age of the stored answer when it was sent; T_NONE: none was
    Slice request_id          # X-Request-ID kept from a trusted peer; empty: `id` counts
    Slice client_ip           # text
    Slice listener            # name
    Slice route               # name; empty: none matched
    Slice upstream            # name; empty: none
    Slice server              # address; empty: none
    Slice method
    Slice host
    Slice path                # normal form
    Slice query               # data NULL: none
    Slice user_agent
    Slice referer
    Slice trace_id            # of a W3C traceparent; empty: none
    Slice user                # who an auth policy says it is; empty: nobody
    uint64_t packets_in       # RECORD_UDP: datagrams from the client ...
    uint64_t packets_out      # ... and to it
    Slice tls_name            # RECORD_TLS: server name; empty: none
    Slice tls_alpn            # RECORD_TLS: the ProtocolNameList of the ClientHello
    Slice parent_id           # of the client's span; empty: none
    Slice tries               # TryNotes, one behind the other, aligned to nothing
    Slice policies            # "name:decision,...": what filters had to say beyond letting pass
