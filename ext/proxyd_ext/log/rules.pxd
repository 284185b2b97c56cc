"""What an access log does with a record before it is a line: which ones it takes, what it hides in them, what it puts in front."""
from libc.stdint cimport uint64_t
from proxyd_ext.core.slice cimport Slice


cdef enum:
    KEEP_FLOWS = 0           # index in LogRules.keep: of flows; 1 to 5: of the status' first digit
    KEEP_KINDS = 6

    FRAME_NONE = 0           # the line alone
    FRAME_FILE = 1           # as syslog daemons write it into files: time, machine, program; `halog` expects it
    FRAME_LOCAL = 2          # as syslog(3) sends it to a daemon of the same machine
    FRAME_RFC5424 = 3        # a SYSLOG-MSG of RFC 5424

    FRAME_MAX = 512          # bytes that it adds at most


ctypedef struct LogRules:
    # Sampling.
    uint64_t[KEEP_KINDS] keep    # of 2^32 records, how many are taken
    uint64_t slow_us             # a request that took so long always is
    # Redaction.
    bint redacts                 # there is anything to hide at all
    bint client_ip
    bint host
    bint user_agent
    bint referer                 # as a whole; else its parameters
    Slice* names                 # of parameters, lower case
    size_t name_count
    # The frame.
    int frame                    # FRAME_*
    Slice machine
    Slice program                # `proxyd[123]`, or of RFC 5424 `proxyd 123`


cdef class Rules:
    cdef LogRules rules
    cdef tuple _kept             # bytes that the slices point into
