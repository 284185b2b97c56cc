"""`Rules`: the settings of an access log, as the log thread reads them. Nobody changes them while it does."""
cimport cython
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from proxyd_ext.core.slice cimport Slice, slice_of

import os

_FRAMES = {"none": FRAME_NONE, "file": FRAME_FILE, "local": FRAME_LOCAL, "rfc5424": FRAME_RFC5424}
_MACHINE_MAX = 255    # RFC 5424 §6


cdef Slice _slice(bytes text):
    return slice_of(<const uint8_t*><const char*>text, len(text))


@cython.no_gc    # bytes only; and a collector that clears it would pull the names from under the log thread
cdef class Rules:
    """keep: of a hundred records, how many are taken, by "1xx" to "5xx" and "flows"; 100 where it says nothing.  slow_us: requests that
    took so long always are; None: their time does not matter.  hide: "client.ip", "host", "user_agent", "referer".  parameters: names
    of parameters of the query, and of the Referer's, whose values are hidden.  frame: "none", "file", "local", "rfc5424".

    ValueError: another word.
    """

    def __cinit__(self, *, keep=None, slow_us=None, hide=(), parameters=(), str frame="none", str machine=""):
        cdef LogRules* r = &self.rules
        cdef Slice* names
        memset(r, 0, sizeof(LogRules))
        kinds = {"flows": KEEP_FLOWS} | {f"{digit}xx": digit for digit in range(1, KEEP_KINDS)}
        for kind in range(KEEP_KINDS):
            r.keep[kind] = <uint64_t>1 << 32
        for kind, percent in (keep or {}).items():
            if kind not in kinds or not 0 <= percent <= 100:
                raise ValueError(f"no rule for records: {kind} {percent}")
            r.keep[<int>kinds[kind]] = (<uint64_t>int(percent) << 32) // 100
        r.slow_us = 0xFFFFFFFFFFFFFFFF if slow_us is None else slow_us
        lowered = tuple(name.encode().lower() for name in parameters)
        r.redacts = bool(hide or lowered)
        for word in hide:
            if word == "client.ip":
                r.client_ip = True
            elif word == "host":
                r.host = True
            elif word == "user_agent":
                r.user_agent = True
            elif word == "referer":
                r.referer = True
            else:
                raise ValueError(f"records have no {word} to hide")
        if frame not in _FRAMES:
            raise ValueError(f"no frame {frame}")
        r.frame = _FRAMES[frame]
        host = "".join(c if "!" <= c <= "~" else "-" for c in machine)[:_MACHINE_MAX].encode() or b"-"
        program = (f"proxyd {os.getpid()}" if r.frame == FRAME_RFC5424 else f"proxyd[{os.getpid()}]").encode()
        self._kept = (host, program, lowered)
        r.machine = _slice(host)
        r.program = _slice(program)
        names = <Slice*>calloc(len(lowered) or 1, sizeof(Slice))
        if names == NULL:
            raise MemoryError
        r.names = names
        for name in lowered:
            names[r.name_count] = _slice(name)
            r.name_count += 1

    def __dealloc__(self):
        free(self.rules.names)
