"""Slots of waiting exchanges, and waking them (see wait.pxd)."""
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from proxyd_ext.auth.verdict cimport verdict_drop
from proxyd_ext.balance.pool cimport Waiter
from proxyd_ext.balance.queue cimport queue_join, queue_leave, queue_sheds, queue_wait
from proxyd_ext.cache.find cimport store_vary
from proxyd_ext.cache.object cimport VARY_MAX, base_key
from proxyd_ext.conn.cached cimport cached_variant_text
from proxyd_ext.conn.model cimport CacheUse, WAITS_KEPT, WAITS_MAX
from proxyd_ext.core.events cimport EVENT_CONSULT, EVENT_WAKE, event_push, events_destroy, events_init
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.limit.gate cimport GATE_FULL, GATE_WAITS, GateWaiter, gate_abandon, gate_told, gate_wait
from proxyd_ext.snapshot.compile cimport CONSULT_LOOKUP
from proxyd_ext.core.shim cimport counter_add, exchange_ptr, load_acquire_int, store_u64


cdef bint waits_init(Context* context) noexcept nogil:
    cdef int32_t i
    context.waits = <WaitSlot*>calloc(WAITS_MAX, sizeof(WaitSlot))
    if context.waits == NULL or events_init(&context.wakeups) < 0:
        return False
    for i in range(WAITS_MAX):
        context.waits[i].next_free = i + 1 if i + 1 < WAITS_MAX else -1
        context.waits[i].ask.kind = EVENT_CONSULT
        context.waits[i].wake.kind = EVENT_WAKE
        context.waits[i].wake.subject = &context.waits[i]
        context.waits[i].waiter.wake = _wake
        context.waits[i].place.wake = _wake_place
        context.waits[i].context = context
    context.wait_free = 0
    context.waits_free = WAITS_MAX
    return True


cdef void waits_destroy(Context* context) noexcept nogil:
    cdef int32_t i
    if context.waits != NULL:
        for i in range(WAITS_MAX):
            answer_free(<Answer*>context.waits[i].answer)
            free(context.waits[i].question)
    free(context.waits)
    context.waits = NULL
    events_destroy(&context.wakeups)


cdef WaitSlot* _take(Exchange* exchange) noexcept nogil:
    """A slot for the exchange, NULL: all are taken (counted)."""
    cdef Context* context = exchange.context
    cdef int32_t index = context.wait_free
    cdef WaitSlot* slot
    if index < 0:
        counter_add(&context.waits_refused, 1)
        return NULL
    slot = &context.waits[index]
    context.wait_free = slot.next_free
    context.waits_free -= 1
    slot.exchange = exchange
    slot.upstream = NULL
    slot.generation += 1
    exchange.wait = index
    return slot


cdef bint consult_ask(Exchange* exchange, int kind) noexcept nogil:
    cdef WaitSlot* slot = _take(exchange)
    if slot == NULL:
        return False
    # One word says it all, so that the control plane never reads half of a reused slot.
    store_u64(&slot.ask.number, <uint64_t>slot.generation << 32 | <uint64_t>kind << 16 | <uint64_t>exchange.wait)
    event_push(exchange.context.events, &slot.ask)
    return True


cdef WaitQuestion* question_new(int kind, size_t size) noexcept nogil:
    cdef WaitQuestion* question = <WaitQuestion*>malloc(sizeof(WaitQuestion) + size)
    if question != NULL:
        question.kind = kind
        question.has_variant = False
        question.subject = 0
        question.digest_high = question.digest_low = 0
        question.text_size = question.variant_size = 0
    return question


cdef bint question_ask(Exchange* exchange, WaitQuestion* question) noexcept nogil:
    cdef WaitSlot* slot = _take(exchange)
    if slot == NULL:
        free(question)
        return False
    question.generation = slot.generation
    free(exchange_ptr(&slot.question, question))
    store_u64(&slot.ask.number, <uint64_t>slot.generation << 32 | <uint64_t>question.kind << 16 | <uint64_t>exchange.wait)
    event_push(exchange.context.events, &slot.ask)
    return True


cdef bint consult_ask_about(Exchange* exchange, int kind, Slice text, bint has_variant, Slice variant) noexcept nogil:
    cdef WaitQuestion* question = question_new(kind, text.size + variant.size)
    if question == NULL:
        return False
    question.has_variant = has_variant
    question.text_size = text.size
    question.variant_size = variant.size
    memcpy(question + 1, text.data, text.size)
    if variant.size:
        memcpy(<char*>(question + 1) + text.size, variant.data, variant.size)
    return question_ask(exchange, question)


cdef bint lookup_ask(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    cdef uint8_t[VARY_MAX] names
    cdef uint32_t size = store_vary(use.rules.store, use.base, names)
    cdef int text = 0
    if exchange.context.waits_free <= WAITS_KEPT:
        return False
    if use.variant:
        text = cached_variant_text(exchange, slice_of(names, size))
        if text < 0:
            return False
    return consult_ask_about(exchange, CONSULT_LOOKUP, base_key(use.base), use.variant != 0,
                             slice_of(exchange.context.variant, text))


cdef void wait_end(Exchange* exchange) noexcept nogil:
    _end(exchange, False)


cdef void _end(Exchange* exchange, bint served) noexcept nogil:
    cdef Context* context = exchange.context
    cdef WaitSlot* slot
    if exchange.wait < 0:
        return
    slot = &context.waits[exchange.wait]
    if slot.upstream != NULL:
        queue_leave(slot.upstream, &slot.waiter, served)
        slot.upstream = NULL
    if slot.place.lane != NULL:
        gate_abandon(&slot.place, context.clock.now_us)
    slot.exchange = NULL
    slot.next_free = context.wait_free
    context.wait_free = exchange.wait
    context.waits_free += 1
    exchange.wait = -1


# ---- for room on a server ----

cdef void _wake(Waiter* waiter) noexcept nogil:
    """Called by whoever leaves a server, on any engine."""
    cdef WaitSlot* slot = <WaitSlot*>(<char*>waiter - <size_t>&(<WaitSlot*>NULL).waiter)
    event_push(&slot.context.wakeups, &slot.wake)


cdef bint wait_for_room(Exchange* exchange) noexcept nogil:
    cdef WaitSlot* slot
    if exchange.upstream.max_pending == 0 or exchange.context.waits_free <= WAITS_KEPT:
        return False
    slot = _take(exchange)
    if slot == NULL:
        return False
    if not queue_wait(exchange.upstream.state, &slot.waiter, exchange.route.priority, exchange.upstream.max_pending,
                      exchange.context.clock.now_us):
        wait_end(exchange)
        return False
    slot.upstream = exchange.upstream.state
    return True


cdef void wait_again(Exchange* exchange) noexcept nogil:
    cdef WaitSlot* slot = &exchange.context.waits[exchange.wait]
    queue_join(slot.upstream, &slot.waiter, 0, True)


cdef void wait_served(Exchange* exchange) noexcept nogil:
    _end(exchange, True)


cdef Exchange* wait_woken(WaitSlot* slot) noexcept nogil:
    return slot.exchange if slot.upstream != NULL and load_acquire_int(&slot.waiter.granted) else NULL


# ---- for a place of the route ----

cdef void _wake_place(GateWaiter* waiter) noexcept nogil:
    """Called by whoever gives up a place, on any thread."""
    cdef WaitSlot* slot = <WaitSlot*>(<char*>waiter - <size_t>&(<WaitSlot*>NULL).place)
    event_push(&slot.context.wakeups, &slot.wake)


cdef int wait_for_place(Exchange* exchange) noexcept nogil:
    cdef WaitSlot* slot
    cdef int result
    if exchange.context.waits_free <= WAITS_KEPT:
        return GATE_FULL
    slot = _take(exchange)
    if slot == NULL:
        return GATE_FULL
    result = gate_wait(exchange.route.lane, &slot.place, exchange.route.priority, exchange.context.clock.now_us)
    if result != GATE_WAITS:
        wait_end(exchange)
    return result


cdef int wait_place_told(WaitSlot* slot) noexcept nogil:
    return gate_told(&slot.place) if slot.exchange != NULL and slot.place.lane != NULL else 0


cdef bint wait_sheds(Exchange* exchange) noexcept nogil:
    cdef WaitSlot* slot = &exchange.context.waits[exchange.wait]
    return queue_sheds(slot.upstream, &slot.waiter, exchange.context.clock.now_us)


cdef bint wait_shed(const WaitSlot* slot) noexcept nogil:
    return slot.exchange != NULL and slot.upstream != NULL and load_acquire_int(&slot.waiter.shed) != 0


cdef Exchange* wait_find(Context* context, WaitSlot* slot, uint32_t generation) noexcept nogil:
    if slot.exchange == NULL or slot.generation != generation:
        counter_add(&context.waits_late, 1)
        return NULL
    return slot.exchange


cdef void wait_wake(Context* context, int32_t slot, Answer* answer) noexcept nogil:
    cdef Answer* other = <Answer*>exchange_ptr(&context.waits[slot].answer, answer)
    if other != NULL and <int32_t>(other.generation - answer.generation) > 0:
        # Answers need not come in the order of the questions: the one for the slot's later use stays.
        other = <Answer*>exchange_ptr(&context.waits[slot].answer, other)
    answer_free(other)
    event_push(&context.wakeups, &context.waits[slot].wake)


cdef void answer_free(Answer* answer) noexcept nogil:
    if answer == NULL:
        return
    if answer.verdict != NULL:
        verdict_drop(answer.verdict)
    free(answer.change)
    free(answer)
