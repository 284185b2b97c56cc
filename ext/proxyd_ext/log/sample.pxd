"""Which records an access log takes."""
from proxyd_ext.log.record cimport AccessRecord
from proxyd_ext.log.rules cimport LogRules


# The same answer for the same request id, in every process: what one proxyd keeps of a request, the next one behind it keeps, too.
cdef bint sample_keeps(const LogRules* rules, const AccessRecord* record) noexcept nogil
