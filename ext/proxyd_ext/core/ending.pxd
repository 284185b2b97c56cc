"""Why a flow (l4) ended, as records, counters and metrics tell it."""


cdef enum:
    # The words are those of end_word.
    END_NONE = 0              # it is no flow
    END_CLIENT = 1            # the client closed first
    END_SERVER = 2            # the server closed first
    END_CLIENT_RESET = 3
    END_SERVER_RESET = 4
    END_IDLE = 5              # flow.idle_timeout
    END_AGE = 6               # flow.max_age
    END_DRAIN = 7             # flow.drain_timeout: its listener or server was to be left
    END_DOWN = 8              # its server was taken out, and on_down says close
    END_RESPONSES = 9         # UDP: it had all its answers
    END_EVICTED = 10          # UDP: given up for a new one, the table being full
    END_REFUSED = 11          # it never reached a server; the fault says why
    END_SHUTDOWN = 12         # proxyd stopped
    END_COUNT = 13


cdef inline const char* end_word(int end) noexcept nogil:
    """Of END_*; empty for what is none of them."""
    if end == END_CLIENT:
        return b"client"
    if end == END_SERVER:
        return b"server"
    if end == END_CLIENT_RESET:
        return b"client_reset"
    if end == END_SERVER_RESET:
        return b"server_reset"
    if end == END_IDLE:
        return b"idle"
    if end == END_AGE:
        return b"age"
    if end == END_DRAIN:
        return b"drain"
    if end == END_DOWN:
        return b"down"
    if end == END_RESPONSES:
        return b"responses"
    if end == END_EVICTED:
        return b"evicted"
    if end == END_REFUSED:
        return b"refused"
    if end == END_SHUTDOWN:
        return b"shutdown"
    return b""
