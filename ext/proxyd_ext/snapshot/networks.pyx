"""Lists of networks, compiled (see networks.pxd)."""
from libc.stdlib cimport calloc, free
from proxyd_ext.core.address cimport network_parse


cdef Network* networks_compile(allow, deny, int* count) except? NULL:
    cdef Network* networks
    cdef int i = 0
    count[0] = len(allow) + len(deny)
    networks = <Network*>calloc(count[0] + 1, sizeof(Network))
    if networks == NULL:
        raise MemoryError
    try:
        # Where the same prefix is both allowed and denied, deny must win: it stands first, and the sort below is by length only.
        for text, verdict in [(t, False) for t in deny] + [(t, True) for t in allow]:
            network_parse(text.encode(), &networks[i])
            networks[i].allow = verdict
            i += 1
    except ValueError:
        free(networks)
        raise
    _sort_stable(networks, count[0])
    return networks


cdef void _sort_stable(Network* networks, int count) noexcept:
    """Insertion sort by prefix length, longest first; equal lengths keep their order."""
    cdef int i, k
    cdef Network held
    for i in range(1, count):
        held = networks[i]
        k = i - 1
        while k >= 0 and networks[k].bits < held.bits:
            networks[k + 1] = networks[k]
            k -= 1
        networks[k + 1] = held
