"""Entries of 16 bytes by a 64-bit hash. Each has one word, which engines advance by compare-and-swap; finding an entry takes no lock.

A key may stand in two buckets of eight, both in the same *group* of 32 buckets, which is one page of memory and has one lock for entering
and removing keys. A newcomer goes to its first bucket while three places of that are free, else to the emptier of the two. At the stated
capacity 53 % of all places are taken (28.6 MiB for a million keys); simulated with a million live keys, that loses one of them, and 94 %
are found in their first bucket. Memory is taken as it is touched.

The word holds a *state*, the owner's affair (never 0), below it a bit of the owner's, and a *version* of five bits that grows whenever the
place changes hands. How a late swap cannot touch another key:

    who takes over      the word to state 0 with the next version (by a swap, so that no charge gets lost) · the hash · the new word
    who charges         the hash is found · the word is read · the hash is read again and must be the same · the word is swapped

A word that was read with the old hash on both sides is older than the take-over, so the swap fails on state 0 or on the version. (A thread
that sleeps between reading and swapping while a place changes hands 32 times and comes to the very same state would be deceived.)

Nothing expires by a timer: `left` tells how long a word still means anything, and what means nothing is free to be taken over. Where all
places of both buckets mean something, the one that is nearest to its end is given up (counted).
"""
from libc.stdint cimport int64_t, uint64_t
from proxyd_ext.core.shim cimport load_acquire_u64

cdef enum:
    WAYS = 8                  # places of a bucket: two cache lines
    GROUP_BUCKETS = 32
    GROUP_SLOTS = 256         # 4 KiB
    STATE_SHIFT = 6
    MARK = 32                 # the owner's bit; not set in a new entry
    VERSION_MASK = 31


ctypedef struct Slot:
    uint64_t hash             # 0: free
    uint64_t word             # state << STATE_SHIFT | MARK | version; state 0: free, or changing hands


ctypedef struct Group:
    int lock
    int used                  # places with a hash; under the lock


# Microseconds until the word means nothing any more; 0 and less: it does not (since then).
ctypedef int64_t (*Left)(const void* rule, uint64_t word, int64_t now_us) noexcept nogil


ctypedef struct Table:
    Slot* slots
    uint64_t count            # groups
    void* rule                # what the words mean; may be exchanged, see table_redefine
    Group* groups
    Left left
    uint64_t capacity         # keys it was made for
    uint64_t evictions        # entries that were given up while they meant something
    int64_t held              # entries, of whatever meaning


ctypedef struct TableCount:
    int64_t keys              # entries that mean something
    int64_t removed           # entries that were removed because they do not


# False: no memory.
cdef bint table_init(Table* table, uint64_t capacity, void* rule, Left left) noexcept nogil
cdef void table_destroy(Table* table) noexcept nogil
cdef uint64_t table_bytes(const Table* table) noexcept nogil
# Enter a key with this state, unless it is there.  Its place, and its word; `fresh` tells whether it was entered.  NULL: the words have
# another rule by now, begin anew.
cdef Slot* table_enter(
    Table* table, const void* rule, uint64_t hash, uint64_t state, int64_t now_us, uint64_t* word, bint* fresh
) noexcept nogil
# Remove an entry whose word is still this one.
cdef bint table_remove(Table* table, Slot* slot, uint64_t hash, uint64_t word) noexcept nogil
# Remove a key, or all (hash 0); how many.
cdef int64_t table_forget(Table* table, uint64_t hash) noexcept nogil
# From now on the words have another rule: all entries are removed, and who read one before cannot swap it any more.
cdef void table_redefine(Table* table, void* rule) noexcept nogil
# Count what means something; what has meant nothing for `idle_us` is removed.
cdef TableCount table_walk(Table* table, int64_t now_us, int64_t idle_us) noexcept nogil


ctypedef struct Place:
    Slot* first               # a key's two buckets
    Slot* second
    uint64_t group


cdef inline Place table_place(const Table* table, uint64_t hash) noexcept nogil:
    """Fibonacci hashing (Knuth, TAOCP 6.4) in front, so that hashes need not be good ones; then multiply-shift: the whole part of the
    product is the group, its fraction gives the buckets."""
    cdef Place place
    cdef uint64_t product = ((hash * <uint64_t>0x9e3779b97f4a7c15) >> 32) * table.count
    cdef uint64_t first = (product >> 27) & (GROUP_BUCKETS - 1)
    cdef uint64_t second = first ^ ((product >> 22) & (GROUP_BUCKETS - 1) | 1)
    place.group = product >> 32
    place.first = table.slots + place.group * GROUP_SLOTS + first * WAYS
    place.second = table.slots + place.group * GROUP_SLOTS + second * WAYS
    return place


# Where it is not in its first bucket.
cdef Slot* table_find_second(const Table* table, uint64_t hash) noexcept nogil


cdef inline Slot* table_find(const Table* table, uint64_t hash) noexcept nogil:
    """The key's place, or NULL; good for `table_read`. Written out: a loop costs twice the instructions."""
    cdef Slot* bucket = table_place(table, hash).first
    if load_acquire_u64(&bucket[0].hash) == hash:
        return &bucket[0]
    if load_acquire_u64(&bucket[1].hash) == hash:
        return &bucket[1]
    if load_acquire_u64(&bucket[2].hash) == hash:
        return &bucket[2]
    if load_acquire_u64(&bucket[3].hash) == hash:
        return &bucket[3]
    if load_acquire_u64(&bucket[4].hash) == hash:
        return &bucket[4]
    if load_acquire_u64(&bucket[5].hash) == hash:
        return &bucket[5]
    if load_acquire_u64(&bucket[6].hash) == hash:
        return &bucket[6]
    if load_acquire_u64(&bucket[7].hash) == hash:
        return &bucket[7]
    return table_find_second(table, hash)


cdef inline uint64_t table_read(const Slot* slot, uint64_t hash) noexcept nogil:
    """The word of the key in its place, to be swapped; 0: it is not there, or changing hands."""
    cdef uint64_t word = load_acquire_u64(&slot.word)
    if load_acquire_u64(&slot.hash) != hash or word >> STATE_SHIFT == 0:
        return 0
    return word
