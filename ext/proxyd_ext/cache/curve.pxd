"""The live miss-ratio curve: what the hit ratio would be with a quarter, half, twice, four times the memory.

Miniature simulation (Waldspurger, Saemundsson, Ahmad, Park: "Cache modeling and optimization using miniature simulations", ATC 2017) over
keys sampled by their hash (SHARDS, FAST 2015): a share R of the keys is shown to caches of R times the size, which hold no bytes and run
the very same Policy. So it is a curve of S3-FIFO by bytes as it is, not of LRU.

The memory is fixed, 3.2 MB when all of it is used: 16,384 sampled objects, each with its place in all five simulations at once. When they
are used up, R goes down by a quarter and keys above the threshold are dropped. R begins at 1/8, so that the curve of a small cache is exact
enough and that of a large one costs nothing: a cache of a million objects samples one key in 250. Few keys make most requests, and whether
the greatest of them are in the sample moves all ratios by points; that is corrected as SHARDS does ("SHARDS-adj"): requests that the sample
has too few or too many of its share count as hits, for such keys are in a cache of any size.

Off by half a point at most for objects of one size, by one to five where sizes go from 100 B to 10 MB (`bench/hit_ratios.py`). Weak where
objects are so large that a miniature cache holds only a few dozens: one that does not fit at all is a miss there.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from proxyd_ext.cache.policy cimport Policy, PolicyNode
from proxyd_ext.core.shim cimport load_u64


cdef enum:
    CURVE_POINTS = 5


ctypedef struct CurvePoint:
    uint64_t size             # bytes that are simulated
    uint64_t requests         # in units of the sample, of late; the same for all points
    uint64_t hits             # of them


ctypedef struct CurveRecord:
    PolicyNode[CURVE_POINTS] node
    uint64_t key              # mixed hash
    uint32_t drawn            # bits that decide whether it is in the sample
    uint32_t chain            # next of its bucket, or of the free ones, from 1; 0: none
    uint8_t held              # simulations that hold it


ctypedef struct Curve:
    uint64_t threshold        # of sampled bits of a key's hash: below it is in the sample; read without the lock
    int lock
    uint64_t missed           # requests of the sample that found the lock taken for too long
    uint64_t size             # of the cache, bytes
    bint anew                 # the size has changed: the next reader begins with zero counts
    uint64_t shown            # requests that the last reader told of
    double requests           # all requests; sampled ones; and hits: of late, scaled to the rate and the halvings up to now
    double sampled
    double lost               # of the sample, by `missed`
    double[CURVE_POINTS] hits
    Policy[CURVE_POINTS] simulation
    CurveRecord* records
    uint32_t* buckets         # first record, from 1
    uint32_t free             # first free record, from 1
    uint32_t live             # records in use


# For a cache of so many bytes. NULL: no memory.
cdef Curve* curve_create(uint64_t size) noexcept nogil
cdef void curve_destroy(Curve* curve) noexcept nogil
# The cache's size has changed: what the simulations hold stays, counts begin anew with the next curve_read.
cdef void curve_size(Curve* curve, uint64_t size) noexcept nogil
# A request that curve_wants, for an object of `size` bytes. From any thread; spins for a microsecond at most,
# then the request is only counted as missed, and the correction knows of it.
cdef void curve_note(Curve* curve, uint64_t key_hash, uint64_t size) noexcept nogil
# The points, smallest size first, into CURVE_POINTS places; returns how many. `requests`: how many there were since curve_create, sampled
# or not: all that curve_wants was asked about, which the caller counts anyway. Halves old counts now and then.
cdef int curve_read(Curve* curve, uint64_t requests, CurvePoint* out) noexcept nogil


# Whether the key is in the sample: one compare. Bits 24 to 55 of the hash decide, so that shards may go by those above and an index by
# those below.
cdef inline bint curve_wants(const Curve* curve, uint64_t key_hash) noexcept nogil:
    return (key_hash >> 24 & <uint64_t>0xFFFFFFFF) < load_u64(&curve.threshold)
