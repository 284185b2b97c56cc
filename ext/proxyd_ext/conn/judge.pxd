"""Whether a server's answer may be stored; when not, word of it is left for those who come next."""
from proxyd_ext.cache.freshness cimport Freshness
from proxyd_ext.conn.model cimport CacheUse
from proxyd_ext.http1.head cimport Head


# STORE_OK of cache/freshness, or why not (STORE_*, REASON_*); how long it is good: into `fresh`.
cdef int cached_judge(CacheUse* use, const Head* head, Freshness* fresh) noexcept nogil
# Leave a marker with the reason, unless the next answer may well be stored.
cdef void cached_mark(CacheUse* use, const Head* head, int reason) noexcept nogil
