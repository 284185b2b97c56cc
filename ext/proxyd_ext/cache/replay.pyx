# cython: cdivision=True
"""Pinned sequences of requests, shown to the cache's policy and to its curve: for tests and `bench/hit_ratios.py`. Nothing that serves
uses it.

Sequences come from a seeded splitmix64, so that a ratio is the same on every machine. What a request asks for is one of n items, whose
popularity goes by rank as Zipf has it. Two samplers: the exact one, and the approximation of Gray et al. ("Quickly generating
billion-record synthetic databases", SIGMOD 1994) that YCSB and go-cache-benchmark use, and which makes hits more frequent.
"""
import array

from cpython cimport array as c_array
from libc.math cimport pow
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from proxyd_ext.cache.curve cimport (
    CURVE_POINTS, Curve, CurvePoint, curve_create, curve_destroy, curve_note, curve_read, curve_size, curve_wants,
)
from proxyd_ext.cache.policy cimport (
    POLICY_NONE, Policy, PolicyNode, policy_bytes, policy_destroy, policy_hit, policy_init, policy_insert, policy_victim,
)
from proxyd_ext.core.hash cimport Random, mix64, random_next
from proxyd_ext.core.shim cimport fetch_add_u64

cdef enum:
    SHARDS_MAX = 256          # by the top eight bits of a key's hash


cdef inline uint64_t _key_hash(uint32_t item) noexcept nogil:
    """Of items as of keys: 64 bits that look random."""
    return mix64((<uint64_t>item + 1) * <uint64_t>0x9e3779b97f4a7c15)


cdef class Zipf:
    """Ranks from 0 to n - 1, drawn with probability (rank + 1) ** -theta; `gray`: as the approximation of 1994 has them."""
    cdef Random random
    cdef double* below        # sums of weights up to and with each rank
    cdef uint32_t* guide      # where to begin to search, by the k-th part of the sum
    cdef uint32_t n
    cdef double theta
    cdef bint gray

    def __cinit__(self, uint32_t n, double theta, uint64_t seed = 1, *, bint gray = False) -> None:
        cdef double total = 0
        cdef uint32_t i, rank = 0
        if n == 0 or (gray and (n < 3 or theta == 1)):
            raise ValueError("no items, or theta is 1, for which the approximation is not defined")
        self.random.state = seed
        self.n = n
        self.theta = theta
        self.gray = gray
        self.below = <double*>malloc(n * sizeof(double))
        self.guide = <uint32_t*>malloc((n + 1) * sizeof(uint32_t))
        if self.below == NULL or self.guide == NULL:
            raise MemoryError
        for i in range(n):
            total += pow(i + 1, -theta)
            self.below[i] = total
        for i in range(n + 1):
            while rank < n - 1 and self.below[rank] <= total * i / n:
                rank += 1
            self.guide[i] = rank

    def __dealloc__(self) -> None:
        free(self.below)
        free(self.guide)

    cdef inline uint32_t draw(self) noexcept nogil:
        cdef double u = <double>(random_next(&self.random) >> 11) * (1.0 / <double>(<uint64_t>1 << 53))
        cdef double total = self.below[self.n - 1], at = u * total, eta
        cdef uint32_t rank
        if self.gray:
            if at < 1:
                return 0
            if at < 1 + pow(0.5, self.theta):
                return 1
            eta = (1 - pow(2.0 / self.n, 1 - self.theta)) / (1 - self.below[1] / total)
            rank = <uint32_t>(self.n * pow(eta * u - eta + 1, 1 / (1 - self.theta)))
            return min(rank, self.n - 1)
        rank = self.guide[<uint32_t>(u * self.n)]
        while rank > 0 and self.below[rank - 1] > at:
            rank -= 1         # rounding may have led past it
        while rank < self.n - 1 and self.below[rank] <= at:
            rank += 1
        return rank

    def take(self, Py_ssize_t count) -> array.array[int]:
        """The next ranks, as unsigned ints."""
        cdef c_array.array found = c_array.clone(array.array("I"), count, zero=False)
        cdef uint32_t* at = <uint32_t*>found.data.as_uints
        cdef Py_ssize_t i
        with nogil:
            for i in range(count):
                at[i] = self.draw()
        return found


cdef const uint32_t* _checked(const uint32_t[::1] items, uint32_t n) except? NULL:
    """The items; all are below n."""
    cdef const uint32_t* at = &items[0] if items.shape[0] else NULL
    cdef Py_ssize_t i
    for i in range(items.shape[0]):
        if at[i] >= n:
            raise IndexError(at[i])
    return at


cdef class Replay:
    """S3-FIFO in as many shards as told, each with its part of the capacity, asked for a sequence of items.

    `sizes`: bytes of each item, by its number; None: all of size 1. An object is inserted when it was missed, after as much was evicted as
    it needs; one that is larger than a shard is not.
    """
    cdef PolicyNode* nodes
    cdef Policy[SHARDS_MAX] shards
    cdef uint64_t* sizes
    cdef uint32_t n
    cdef int shard_count
    cdef Curve* curve
    cdef readonly uint64_t requests
    cdef readonly uint64_t hits
    cdef readonly uint64_t bytes
    cdef readonly uint64_t hit_bytes
    cdef uint64_t shown

    def __cinit__(self, uint32_t n, uint64_t capacity, *, int shards = 1, sizes = None, bint curve = False) -> None:
        cdef uint32_t i
        cdef int k
        if not 1 <= shards <= SHARDS_MAX or shards & (shards - 1):
            raise ValueError("shards: a power of two up to 256")
        self.n = n
        self.nodes = <PolicyNode*>calloc(n, sizeof(PolicyNode))
        self.sizes = <uint64_t*>malloc(n * sizeof(uint64_t))
        if self.nodes == NULL or self.sizes == NULL:
            raise MemoryError
        for i in range(n):
            self.sizes[i] = 1 if sizes is None else sizes[i]
        for k in range(shards):
            self.shard_count = k + 1
            if not policy_init(&self.shards[k], capacity // <uint64_t>shards):
                raise MemoryError
        if curve:
            self.curve = curve_create(capacity)
            if self.curve == NULL:
                raise MemoryError

    def __dealloc__(self) -> None:
        cdef int k
        for k in range(self.shard_count):
            policy_destroy(&self.shards[k])
        if self.curve != NULL:
            curve_destroy(self.curve)
        free(self.nodes)
        free(self.sizes)

    cdef void _ask(self, uint32_t item) noexcept nogil:
        cdef uint64_t key = _key_hash(item), size = self.sizes[item]
        cdef PolicyNode* node = &self.nodes[item]
        cdef Policy* shard = &self.shards[((key >> 56) * <uint64_t>self.shard_count) >> 8]
        self.requests += 1
        self.bytes += size
        fetch_add_u64(&self.shown, 1)
        if self.curve != NULL and curve_wants(self.curve, key):
            curve_note(self.curve, key, size)
        if node.queue != POLICY_NONE:
            self.hits += 1
            self.hit_bytes += size
            policy_hit(node)
        elif size <= shard.target:
            while policy_bytes(shard) + size > shard.target:
                policy_victim(shard)
            node.size = size
            policy_insert(shard, node, key)

    def note(self, const uint32_t[::1] items not None) -> None:
        """Show these requests to the curve alone. May be called by several threads at a time."""
        cdef Py_ssize_t i, count = items.shape[0]
        cdef const uint32_t* at = _checked(items, self.n)
        if self.curve == NULL:
            raise ValueError("there is no curve")
        with nogil:
            for i in range(count):
                fetch_add_u64(&self.shown, 1)
                if curve_wants(self.curve, _key_hash(at[i])):
                    curve_note(self.curve, _key_hash(at[i]), self.sizes[at[i]])

    def draw(self, Zipf zipf not None, uint64_t count) -> None:
        """So many requests of a sampler."""
        cdef uint64_t _i
        if zipf.n > self.n:
            raise ValueError("more items than there are nodes")
        with nogil:
            for _i in range(count):
                self._ask(zipf.draw())

    def show(self, const uint32_t[::1] items not None) -> None:
        """These requests."""
        cdef Py_ssize_t i, count = items.shape[0]
        cdef const uint32_t* at = _checked(items, self.n)
        with nogil:
            for i in range(count):
                self._ask(at[i])

    def forget(self) -> None:
        """Counts begin at zero; what is cached stays."""
        self.requests = self.hits = self.bytes = self.hit_bytes = 0

    def resize(self, uint64_t capacity) -> None:
        """Another size for the curve; the cache itself keeps its own."""
        if self.curve == NULL:
            raise ValueError("there is no curve")
        curve_size(self.curve, capacity)

    def points(self) -> list[tuple[int, int, int]]:
        """The curve: bytes, requests, hits."""
        cdef CurvePoint[CURVE_POINTS] found
        cdef int i, count
        if self.curve == NULL:
            raise ValueError("there is no curve")
        count = curve_read(self.curve, self.shown, found)
        return [(found[i].size, found[i].requests, found[i].hits) for i in range(count)]

    @property
    def sampled(self) -> tuple[float, int]:
        """The curve's rate, and objects in its sample."""
        if self.curve == NULL:
            raise ValueError("there is no curve")
        return <double>self.curve.threshold / <double>(<uint64_t>1 << 32), self.curve.live
