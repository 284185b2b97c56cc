"""What a record must not tell anybody is taken out of it before anybody reads it."""
from libc.stdint cimport uint8_t
from proxyd_ext.core.address cimport ADDRESS_TEXT
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.log.record cimport AccessRecord
from proxyd_ext.log.ring cimport KEEP_QUERY, KEEP_REFERER
from proxyd_ext.log.rules cimport LogRules


# A record with its own bytes of what had to be changed.
ctypedef struct Redacted:
    AccessRecord record
    uint8_t[2 * KEEP_QUERY] query      # a value of one byte becomes three: "a=b&" grows by less than it is long
    uint8_t[2 * KEEP_REFERER] referer
    uint8_t[ADDRESS_TEXT] client_ip


# The record as it may be shown: itself, where the rules hide nothing of it, or `copy`.  It holds as long as both do.
cdef const AccessRecord* redact(const LogRules* rules, const AccessRecord* record, Redacted* copy) noexcept nogil

# Parameters whose name is one of the rules' get the value `***`: written to `out`, of twice the size of `text`; bytes written.
# query: text begins with a name; else, as in a URL, the first one follows a `?`.
cdef size_t redact_parameters(const LogRules* rules, Slice text, bint query, uint8_t* out) noexcept nogil
