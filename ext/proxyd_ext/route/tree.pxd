"""A compressed tree (radix tree) over paths: an edge carries as many bytes as have no branch between them.

A node says, per method, the first route whose path ends there, once for prefixes and once for exact paths; so a look-up reads two words a
node and never a list, however many routes share a node.  Routes with conditions stand apart, in a list per node that is empty for most:
those of its routes that come before the first one without conditions, which are asked one by one.  `lowest`, the first route number in a
whole subtree, lets a walk stop as soon as nothing below can beat what has been found; a condition that may fail only makes it less sharp.

All memory comes from an arena that goes as a whole: a build that fails half-way leaks nothing.
"""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.http1.head cimport METHOD_COUNT
from proxyd_ext.route.condition cimport RouteCondition, RouteInput


cdef enum:
    NO_ROUTE = 0x7FFFFFFF


cdef struct Chunk


cdef struct Arena:
    Chunk* chunks             # the newest first


cdef struct Conditional:
    # A route with conditions.
    Conditional* next         # a higher number
    const RouteCondition* conditions
    int count
    int32_t number
    uint32_t methods          # bit METHOD_*
    bint exact                # its path ends here; else it is a prefix


cdef struct Node:
    const uint8_t* label      # bytes of the edge to this node; they lie in the path of the route that made it
    int32_t* prefix           # [METHOD_COUNT] first route whose prefix ends here, or NO_ROUTE; NULL: none at all
    int32_t* exact            # [METHOD_COUNT] the same for exact paths
    Conditional* conditional  # in rising order; NULL: none
    Conditional* conditional_last
    uint8_t* first_bytes      # first byte of each child's label
    Node** children           # same order as first_bytes
    uint16_t* index           # [256] 1 + place of the child whose label begins so, 0: none; NULL while children are few
    uint32_t label_size       # bytes
    int32_t lowest            # first route number at this node or below
    uint16_t child_count
    uint16_t child_room


cdef void* arena_take(Arena* arena, size_t size) noexcept nogil    # bytes, aligned to 8, cleared; NULL: no memory
cdef void arena_free(Arena* arena) noexcept nogil                  # all that was taken

# A node without children; `label` must live as long as the arena.  NULL: no memory.
cdef Node* node_new(Arena* arena, const uint8_t* label, size_t size, int32_t lowest) noexcept nogil

# The node below `root` at which `path` ends, made if there is none, for route `number`; routes come in rising order.  NULL: no memory.
cdef Node* node_reach(Arena* arena, Node* root, Slice path, int32_t number) noexcept nogil

# Note route `number` in `firsts` (a node's prefix or exact) for each method that no earlier route of this node takes.  0, or -1: no memory.
cdef int node_mark(Arena* arena, int32_t** firsts, uint32_t methods, int32_t number) noexcept nogil

# Note a route with conditions, unless routes without any that stand before it take all that it could.  0, or -1: no memory.
cdef int node_add_conditional(Arena* arena, Node* node, const RouteCondition* conditions, int count, uint32_t methods, int32_t number,
                              bint exact) noexcept nogil

# The first of a node's routes with conditions that is below `best` and matches, or `best`.  `ends`: the path ends at the node.
cdef int32_t conditional_match(const Conditional* conditional, const RouteInput* asked, uint8_t method, bint ends,
                               int32_t best) noexcept nogil


cdef inline Node** node_child(const Node* node, uint8_t first) noexcept nogil:
    """The place of the child whose label begins with `first`, or NULL."""
    cdef int i
    if node.index != NULL:
        i = node.index[first]
        return &node.children[i - 1] if i else NULL
    for i in range(node.child_count):
        if node.first_bytes[i] == first:
            return &node.children[i]
    return NULL


cdef inline int32_t node_walk(const Node* node, const RouteInput* asked, uint8_t method, int32_t best) noexcept nogil:
    """The lower of `best` and the first route of this tree that matches."""
    cdef Slice path = asked.path
    cdef size_t at = 0
    cdef Node** place
    cdef bint ends
    while node.lowest < best:
        if node.label_size > path.size - at:
            break
        # The first byte of a label is the one that led here (and a root has none).
        if node.label_size > 1 and memcmp(node.label + 1, path.data + at + 1, node.label_size - 1) != 0:
            break
        at += node.label_size
        ends = at == path.size
        if node.prefix != NULL and node.prefix[method] < best:
            best = node.prefix[method]
        if ends and node.exact != NULL and node.exact[method] < best:
            best = node.exact[method]
        if node.conditional != NULL and node.conditional.number < best:
            best = conditional_match(node.conditional, asked, method, ends, best)
        if ends:
            break
        place = node_child(node, path.data[at])
        if place == NULL:
            break
        node = place[0]
    return best
