"""What was purged of late: a fetch that began before a purge must not be stored after it (design.md §4).

Purges are numbered. Each leaves a note; a fetch remembers the number at its begin, and what it brings is held against the notes that came
later. Notes are bounded: a fetch older than the oldest one is not stored.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from proxyd_ext.cache.object cimport Object
from proxyd_ext.core.slice cimport Slice


cdef enum:
    PURGE_KEY = 0             # the whole key of a base
    PURGE_KEY_PREFIX = 1      # what a key begins with: its URL is known, a header or cookie in it is not
    PURGE_PREFIX = 2          # what URLs begin with
    PURGE_HOST = 3            # authority
    PURGE_TAG = 4
    PURGE_ALL = 5
    NOTES = 256
    NOTE_TEXT = 1024          # longer texts are noted as PURGE_ALL

    PURGED_NOT = 0
    PURGED_SOFT = 1           # it is stored, but stale from the beginning
    PURGED_HARD = 2


ctypedef struct PurgeNote:
    int kind                  # PURGE_*
    bint soft
    uint32_t size
    uint8_t[NOTE_TEXT] text


ctypedef struct PurgeLog:
    int lock
    int64_t count             # purges so far
    PurgeNote[NOTES] notes    # of purge n: at n % NOTES


# Whether a purge of that kind and text means this object.  `key`: of its base.
cdef bint purge_means(int kind, Slice text, Slice key, const Object* object) noexcept nogil
cdef void purge_note(PurgeLog* log, int kind, Slice text, bint soft) noexcept nogil
cdef int64_t purge_count(PurgeLog* log) noexcept nogil
# Whether purges since the `since`-th mean the object: PURGED_*.
cdef int purged_since(PurgeLog* log, int64_t since, Slice key, const Object* object) noexcept nogil
