"""Slots of exchanges that wait for the control plane (see consult.pxd)."""
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free
from proxyd_ext.conn.model cimport CONSULTS_MAX, ConsultSlot
from proxyd_ext.core.events cimport EVENT_CONSULT, event_push
from proxyd_ext.core.shim cimport counter_add, store_u64


cdef bint consults_init(Context* context) noexcept nogil:
    cdef int32_t i
    context.consults = <ConsultSlot*>calloc(CONSULTS_MAX, sizeof(ConsultSlot))
    if context.consults == NULL:
        return False
    for i in range(CONSULTS_MAX):
        context.consults[i].next_free = i + 1 if i + 1 < CONSULTS_MAX else -1
        context.consults[i].node.kind = EVENT_CONSULT
        context.consults[i].node.subject = &context.consults[i]
    context.consult_free = 0
    return True


cdef void consults_destroy(Context* context) noexcept nogil:
    free(context.consults)
    context.consults = NULL


cdef bint consult_ask(Exchange* exchange, int kind) noexcept nogil:
    cdef Context* context = exchange.context
    cdef int32_t index = context.consult_free
    cdef ConsultSlot* slot
    if index < 0:
        counter_add(&context.consults_refused, 1)
        return False
    slot = &context.consults[index]
    context.consult_free = slot.next_free
    slot.exchange = exchange
    slot.generation += 1
    exchange.consult = index
    # One word says it all, so that the control plane never reads half of a reused slot.
    store_u64(&slot.node.number, <uint64_t>slot.generation << 32 | <uint64_t>kind << 16 | <uint64_t>index)
    event_push(context.events, &slot.node)
    return True


cdef void consult_end(Exchange* exchange) noexcept nogil:
    cdef Context* context = exchange.context
    cdef ConsultSlot* slot
    if exchange.consult < 0:
        return
    slot = &context.consults[exchange.consult]
    slot.exchange = NULL
    slot.next_free = context.consult_free
    context.consult_free = exchange.consult
    exchange.consult = -1


cdef Exchange* consult_find(Context* context, int32_t slot, uint32_t generation) noexcept nogil:
    if slot < 0 or slot >= CONSULTS_MAX or context.consults[slot].exchange == NULL or context.consults[slot].generation != generation:
        counter_add(&context.consults_late, 1)
        return NULL
    return context.consults[slot].exchange
