"""Serving what is stale, where nothing better can be had."""
from proxyd_ext.conn.model cimport CacheUse, Exchange


# No server could be asked, or the answer is an error: whether `object` now answers instead, stale as it is.
cdef bint cached_instead(Exchange* exchange) noexcept nogil
# The same without asking whether it may be: `stale` answers, for those who wait, too.
cdef void cached_serve_stale(CacheUse* use) noexcept nogil
