# cython: cdivision=True
"""Looking for a server for a flow (see choice.pxd)."""
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from proxyd_ext.balance.budget cimport budget_give, budget_take
from proxyd_ext.balance.circuit cimport circuit_admits, circuit_give, circuit_told
from proxyd_ext.balance.ewma cimport ewma_note
from proxyd_ext.balance.heap cimport TRIED_MAX
from proxyd_ext.balance.passive cimport note_success
from proxyd_ext.balance.pick cimport PICK_FULL, PICK_NONE, PickInput, pick, pick_leave
from proxyd_ext.balance.pool cimport (
    BALANCE_EWMA, UpstreamData, UpstreamLocal, pool_pin, pool_unpin, upstream_hold,
)
from proxyd_ext.balance.server cimport ServerLocal, server_hold
from proxyd_ext.conn.pin cimport snapshot_hold, snapshot_release
from proxyd_ext.conn.record cimport record_failure
from proxyd_ext.core.address cimport ADDRESS_TEXT, ADDRESS_V4, address_write
from proxyd_ext.core.fault cimport FAULT_CIRCUIT_OPEN, FAULT_NO_SERVER, FAULT_QUEUE_FULL, fault_info
from proxyd_ext.core.hash cimport crc32_update, random_next
from proxyd_ext.core.shim cimport counter_add, load_i64
from proxyd_ext.core.stats cimport count_add, histogram_add
from proxyd_ext.l4.model cimport CHOICE_BY_KEY, CHOICE_COUNTED, CHOICE_PROBE, CHOICE_RETRYING
from proxyd_ext.log.record cimport T_NONE
from proxyd_ext.snapshot.compile cimport KEY_CLIENT_NET, KEY_FLOW, STICKY_KEY


cdef uint64_t _key(int kind, const Address* client, const Address* local) noexcept nogil:
    """CRC-32, as of requests: one client gets the same server by either way in."""
    cdef uint8_t[ADDRESS_TEXT] text
    cdef uint16_t[2] ports
    cdef uint32_t crc
    if kind == KEY_CLIENT_NET:
        return crc32_update(0, client.bytes, 3 if client.family == ADDRESS_V4 else 16)
    if kind == KEY_FLOW:
        ports[0] = client.port
        ports[1] = local.port
        crc = crc32_update(0, client.bytes, 16)
        crc = crc32_update(crc, local.bytes, 16)
        return crc32_update(crc, <const uint8_t*>ports, sizeof(ports))
    return crc32_update(0, text, address_write(client, text))


cdef void choice_begin(Choice* choice, Context* context, const CompiledListener* listener, const CompiledFlowRoute* route,
                       const Address* client, const Address* local) noexcept nogil:
    cdef uint64_t draw = ((random_next(&context.random) >> 32) * route.targets[route.target_count - 1].up_to) >> 32
    cdef int i = 0
    while draw >= route.targets[i].up_to:
        i += 1
    memset(choice, 0, sizeof(Choice))
    choice.context = context
    choice.snapshot = listener.snapshot
    snapshot_hold(context, choice.snapshot)
    choice.target = &route.targets[i]
    choice.upstream = choice.target.upstream
    if choice.upstream.keyed:
        choice.key = _key(choice.upstream.key, client, local)
        if choice.upstream.sticky == STICKY_KEY:
            choice.flags |= CHOICE_BY_KEY


cdef int32_t _pick(Choice* choice) noexcept nogil:
    cdef PickInput input
    input.tried = &choice.tried
    input.key = choice.key
    input.by_key = (choice.flags & CHOICE_BY_KEY) != 0
    input.sticky = -1
    input.random = &choice.context.random
    input.now_ms = choice.context.clock.now_ms
    return pick(choice.pool, &input)


cdef int choice_next(Choice* choice) noexcept nogil:
    cdef UpstreamData* state = choice.upstream.state
    cdef bint probe = False
    cdef int32_t member = PICK_FULL
    if not choice.flags & CHOICE_PROBE:
        if not circuit_admits(state, &probe):
            return -_refused(choice, FAULT_CIRCUIT_OPEN)
        if probe:
            choice.flags |= CHOICE_PROBE
    if choice.pool != NULL:
        pool_unpin(choice.pool, choice.context.engine)
    choice.pool = pool_pin(state, choice.context.engine)
    choice.server = NULL
    if load_i64(&state.waiting) == 0:             # requests that wait for room are not overtaken
        member = _pick(choice)
        if member < 0 and choice.tried.count > 0 and (member == PICK_FULL or choice.target.retry.attempts >= choice.tries):
            choice.tried.count = 0                # better one that failed before than none
            member = _pick(choice)
    if member < 0:
        return -_refused(choice, FAULT_NO_SERVER if member == PICK_NONE else FAULT_QUEUE_FULL)
    choice.server = choice.pool.members[member].server
    choice.flags |= CHOICE_COUNTED
    choice.tries += 1
    return 0


cdef int _refused(Choice* choice, int fault) noexcept nogil:
    count_add(&choice.upstream.state.local[choice.context.engine].refused, fault, 1)
    return fault


cdef void _leave(Choice* choice) noexcept nogil:
    if choice.flags & CHOICE_COUNTED:
        choice.flags &= ~<uint32_t>CHOICE_COUNTED
        pick_leave(choice.upstream.state, choice.server)


cdef bint choice_failed(Choice* choice, int fault) noexcept nogil:
    cdef Context* context = choice.context
    cdef UpstreamLocal* upstream = choice.upstream.state.local[context.engine]
    counter_add(&upstream.finished, 1)
    counter_add(&upstream.failed, 1)
    count_add(&choice.server.local[context.engine].errors, fault, 1)
    if choice.flags & CHOICE_PROBE:
        choice.flags &= ~<uint32_t>CHOICE_PROBE
        circuit_told(choice.upstream.state, True)
    record_failure(context, choice.pool, choice.server)
    _leave(choice)
    if choice.tried.count < TRIED_MAX:
        choice.tried.server[choice.tried.count] = choice.server
        choice.tried.count += 1
    if choice.tries > choice.target.retry.attempts or not fault_info(fault).when & choice.target.retry.when:
        return False
    if not choice.flags & CHOICE_RETRYING:
        if not budget_take(choice.upstream.state, choice.target.retry.budget_percent, choice.target.retry.budget_min, False):
            return False
        choice.flags |= CHOICE_RETRYING
    count_add(&upstream.retries, fault, 1)
    return True


cdef void choice_made(Choice* choice, Facts* facts, int64_t connect_us) noexcept nogil:
    cdef Context* context = choice.context
    cdef UpstreamLocal* upstream = choice.upstream.state.local[context.engine]
    cdef ServerLocal* server = choice.server.local[context.engine]
    counter_add(&upstream.finished, 1)
    counter_add(&server.flows, 1)
    if connect_us >= 0:
        histogram_add(&upstream.connect, connect_us)
        note_success(choice.server)
    if choice.flags & CHOICE_PROBE:
        choice.flags &= ~<uint32_t>CHOICE_PROBE
        if connect_us < 0:
            circuit_give(choice.upstream.state)   # silence is no success
        else:
            circuit_told(choice.upstream.state, False)
    if choice.pool.balance == BALANCE_EWMA and connect_us >= 0:
        ewma_note(&choice.server.ewma, connect_us, context.clock.now_ms)
    choice.flags &= ~<uint32_t>CHOICE_COUNTED     # now the flow's
    facts.in_flight = True
    facts.server = choice.server
    facts.upstream = choice.upstream.state
    server_hold(facts.server)
    upstream_hold(facts.upstream)
    facts.tries = choice.tries
    facts.connect_us = <uint32_t>connect_us if connect_us >= 0 else T_NONE


cdef void choice_end(Choice* choice) noexcept nogil:
    if choice.snapshot == NULL:
        return
    _leave(choice)
    if choice.flags & CHOICE_PROBE:
        circuit_give(choice.upstream.state)
    if choice.flags & CHOICE_RETRYING:
        budget_give(choice.upstream.state)
    choice.flags = 0
    if choice.pool != NULL:
        pool_unpin(choice.pool, choice.context.engine)
        choice.pool = NULL
    snapshot_release(choice.context, choice.snapshot)
    choice.snapshot = NULL
