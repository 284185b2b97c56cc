# cython: cdivision=True
"""Answers from the cache (see deliver.pxd)."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcpy, memmove, strlen
from proxyd_ext.cache.chain cimport chain_join, chain_leave, chain_read, chain_run, chain_wait
from proxyd_ext.cache.conditional cimport (
    COND_FAILED, COND_NOT_MODIFIED, Validators, evaluate_conditions, if_range_matches,
)
from proxyd_ext.cache.object cimport (
    CHAIN_COMPLETE, CHAIN_FAILED, FORM_NONE, OBJECT_COMPRESS, Chain, Object, object_body, object_head,
)
from proxyd_ext.cache.ranges cimport (
    ByteRange, RANGES_UNSATISFIABLE, RANGES_WHOLE, multipart_size, parse_ranges, write_content_range, write_last_boundary,
    write_part_head, write_unsatisfied_range,
)
from proxyd_ext.conn.cache_status cimport STATUS_LINE, cached_status_line
from proxyd_ext.conn.cached cimport object_age_s
from proxyd_ext.conn.model cimport EX_CLIENT_CLOSE, EX_OUT_CHUNKED, EX_RESPONSE_BEGUN, CacheUse, Context
from proxyd_ext.conn.out cimport Out, out_connection, out_lines, out_open, out_put, out_send, out_slice, out_text
from proxyd_ext.filter.chain cimport names_have
from proxyd_ext.core.shim cimport load_acquire_int, load_acquire_u64, load_i64
from proxyd_ext.core.slice cimport slice_empty, slice_of
from proxyd_ext.http1.chunk cimport CHUNK_HEAD_MAX, chunk_write_head
from proxyd_ext.http1.head cimport (
    BODY_CLOSE, BODY_LENGTH, FIELD_IF_MODIFIED_SINCE, FIELD_IF_NONE_MATCH, FIELD_RANGE, METHOD_GET, METHOD_HEAD,
)
from proxyd_ext.http1.rewrite cimport write_decimal, write_status_line
from proxyd_ext.io.stream cimport (
    stream_commit, stream_room, stream_send, stream_send_file, stream_send_some, stream_unsent,
)
from proxyd_ext.log.record cimport CACHE_MISS

cdef enum:
    HEAD_ROOM = 1024
    COPIED_MOST = 16384       # of a body: composed behind the head; more goes from where it stands
    RUN_MOST = 1 << 20        # bytes for one call
    TURN_MOST = 4 << 20       # bytes for one client before the others get their turn
    UNKNOWN = 0xFFFFFFFFFFFFFFFF
    NO_PART = -1


cdef inline Slice _text(const char* text) noexcept nogil:
    return slice_of(<const uint8_t*>text, strlen(text))


# What a part of a whole, and what a 304, do not tell: each name with its newline, as FilterStep.response_drop.
cdef Slice _not_in_304 = _text(b"content-type\ncontent-encoding\ncontent-language\ncontent-range\n")
cdef Slice _not_in_parts = _text(b"content-type\n")


cdef void _validators(const Object* object, Validators* out) noexcept nogil:
    out.etag = slice_empty()
    if object.etag_size:
        out.etag = slice_of(object_head(object).data + object.etag_at, object.etag_size)
    out.last_modified_s = object.last_modified_s
    out.date_s = object.date_s


cdef int _choose(Exchange* exchange, const Head* asked, int64_t size) noexcept nogil:
    """The status: 200 or what is stored, 304, 412, 206, 416."""
    cdef CacheUse* use = exchange.cached
    cdef Object* object = use.object
    cdef Validators stored
    cdef int64_t now_s = exchange.context.clock.wall_us // 1000000
    cdef int verdict, count
    use.part = NO_PART
    if asked == NULL or object.status != 200:
        return object.status
    if asked.first[FIELD_IF_NONE_MATCH] == 0 and asked.first[FIELD_IF_MODIFIED_SINCE] == 0 and asked.first[FIELD_RANGE] == 0:
        return 200
    _validators(object, &stored)
    verdict = evaluate_conditions(asked, &stored, False, now_s)
    if verdict == COND_NOT_MODIFIED:
        return 304
    if verdict == COND_FAILED:
        return 412
    if asked.first[FIELD_RANGE] == 0 or exchange.method != METHOD_GET or size < 0 or not if_range_matches(asked, &stored, now_s):
        return 200
    count = parse_ranges(asked, size, use.ranges)
    if count == RANGES_WHOLE:
        return 200
    if count == RANGES_UNSATISFIABLE:
        return 416
    if object.chain != NULL and not _ascend(use.ranges, count):
        return 200            # a body that goes by is not gone back in (RFC 9110 §14.2 leaves that to us)
    use.range_count = count
    use.part = 0
    return 206


cdef bint _ascend(const ByteRange* ranges, int count) noexcept nogil:
    cdef int i
    for i in range(1, count):
        if ranges[i].first <= ranges[i - 1].last:
            return False
    return True


cdef void _age(Out* out, Exchange* exchange, const Object* object) noexcept nogil:
    cdef int64_t age_s = object_age_s(object, exchange.context)
    if exchange.cache == CACHE_MISS and age_s <= 0:
        return                # it comes from the server itself
    out_text(out, b"Age: ")
    out.at += write_decimal(<uint64_t>(age_s if age_s > 0 else 0), out.at)
    out_text(out, b"\r\n")


cdef inline void _length(Out* out, uint64_t size) noexcept nogil:
    out_text(out, b"Content-Length: ")
    out.at += write_decimal(size, out.at)
    out_text(out, b"\r\n")


cdef Slice _boundary(Exchange* exchange, uint8_t* text) noexcept nogil:
    cdef uint64_t id = exchange.id
    cdef int i
    for i in range(16):
        text[i] = b"0123456789abcdef"[id & 15]
        id >>= 4
    return slice_of(text, 16)


cdef int deliver_begin(Exchange* exchange, const Head* asked, Slice cookies) noexcept nogil:
    cdef Context* context = exchange.context
    cdef CacheUse* use = exchange.cached
    cdef Object* object = use.object
    cdef int64_t size = load_i64(&object.body_size)
    cdef int status = _choose(exchange, asked, size)
    cdef Slice lines = object_head(object)
    cdef Slice kind = slice_of(lines.data + object.type_at, object.type_size)
    cdef bint wanted = exchange.method != METHOD_HEAD
    cdef uint8_t[16] boundary
    cdef uint64_t copied = 0
    cdef Out out
    if object.chain == NULL and wanted and status == object.status and size <= COPIED_MOST:
        copied = size
    out_open(&out, exchange, HEAD_ROOM + lines.size + exchange.response_lines.size + cookies.size + STATUS_LINE + object.type_size + copied)
    out.at += write_status_line(<uint16_t>status, out.at)
    exchange.status = <uint16_t>status
    exchange.flags |= EX_RESPONSE_BEGUN
    exchange.response_body = BODY_LENGTH
    use.left = 0
    use.skip = 0
    use.whole = False
    if status == 304 or status == 412 or status == 416 or use.part == 0 and use.range_count > 1:
        _partly(&out, lines, exchange.response_drop, _not_in_parts if status == 206 else _not_in_304)
    else:
        out_lines(&out, lines, exchange.response_drop)
    _age(&out, exchange, object)
    if object.flags & OBJECT_COMPRESS and object.encoding == FORM_NONE:
        out_text(&out, b"Vary: Accept-Encoding\r\n")      # its compressed forms may come any moment
    out.at += cached_status_line(exchange, out.at)
    out_slice(&out, exchange.response_lines)
    out_slice(&out, cookies)
    if status == 206 and use.range_count == 1:
        out_text(&out, b"Content-Range: ")
        out.at += write_content_range(use.ranges[0], size, out.at)
        out_text(&out, b"\r\n")
        use.skip = use.ranges[0].first
        use.left = use.ranges[0].last - use.ranges[0].first + 1
        use.part = NO_PART
        _length(&out, use.left)
    elif status == 206:
        out_text(&out, b"Content-Type: multipart/byteranges; boundary=")
        out_slice(&out, _boundary(exchange, boundary))
        out_text(&out, b"\r\n")
        _length(&out, multipart_size(_boundary(exchange, boundary), kind, use.ranges, use.range_count, size))
    elif status == 416:
        out_text(&out, b"Content-Range: ")
        out.at += write_unsatisfied_range(size, out.at)
        out_text(&out, b"\r\n")
        _length(&out, 0)
    elif status == 412:
        _length(&out, 0)
    elif status != 304 and status != 204:
        if size >= 0:
            _length(&out, size)
            use.left = size
        elif exchange.minor == 1:
            out_text(&out, b"Transfer-Encoding: chunked\r\n")
            exchange.flags |= EX_OUT_CHUNKED
            use.left = UNKNOWN
        else:
            exchange.flags |= EX_CLIENT_CLOSE
            exchange.response_body = BODY_CLOSE
            use.left = UNKNOWN
        use.whole = True
    if context.draining or exchange.client.local.leaving:
        exchange.flags |= EX_CLIENT_CLOSE
    out_connection(&out, exchange)
    out_text(&out, b"\r\n")
    exchange.head_out += out.at - out.start
    if copied:
        out_put(&out, object_body(object), copied)
        use.left = 0
    out_send(&out, exchange)
    if not wanted or use.part == NO_PART and use.left == 0:
        return DELIVER_DONE
    if object.chain != NULL and not _join(use, object.chain, use.skip):
        return DELIVER_FAILED
    return deliver_more(exchange)


cdef void _partly(Out* out, Slice lines, Slice drop, Slice also) noexcept nogil:
    """Without the fields of either list of names."""
    cdef uint8_t* at = out.at
    cdef uint8_t* end
    cdef uint8_t* colon
    out_lines(out, lines, also)
    if drop.size:
        # What is left moves to the front, line by line.
        end = out.at
        out.at = at
        while at < end:
            lines = slice_of(at, <uint8_t*>memchr(at, c'\n', end - at) + 1 - at)
            colon = <uint8_t*>memchr(at, c':', lines.size)
            if colon == NULL or not names_have(drop, slice_of(at, colon - at)):
                memmove(out.at, at, lines.size)
                out.at += lines.size
            at += lines.size


cdef bint _join(CacheUse* use, Chain* chain, uint64_t at) noexcept nogil:
    """Begin to read at `at`, or as near to it as the chain is filled."""
    cdef uint64_t filled
    if use.joined and use.reader.at <= at:
        use.skip = at - use.reader.at        # what stands between is read, and not sent: nobody gives it back meanwhile
        return True
    if use.joined:
        chain_leave(use.rules.store.arena, chain, &use.reader)
    filled = load_acquire_u64(&chain.filled)
    use.skip = at - filled if at > filled else 0
    use.joined = chain_join(chain, &use.reader, at - use.skip)
    return use.joined


# ---- the body ----

cdef uint32_t _send(Exchange* exchange, const uint8_t* data, uint32_t size, int fd, int64_t offset) noexcept nogil:
    """How many bytes were taken; 0: the client takes none now. fd -1: they stand in no file."""
    cdef uint8_t* out
    cdef int head
    if exchange.flags & EX_OUT_CHUNKED:
        out = stream_room(&exchange.client.stream, size + CHUNK_HEAD_MAX + 2)
        head = chunk_write_head(size, out)
        memcpy(out + head, data, size)
        out[head + size] = c'\r'
        out[head + size + 1] = c'\n'
        stream_commit(&exchange.client.stream, out, head + size + 2)
        exchange.head_out += head + 2
        exchange.bytes_out += head + 2
        return size
    if size <= COPIED_MOST:
        stream_send(&exchange.client.stream, data, size)
        return size
    if fd >= 0:
        return stream_send_file(&exchange.client.stream, fd, offset, size)
    return stream_send_some(&exchange.client.stream, data, size)


cdef int _end(Exchange* exchange) noexcept nogil:
    if exchange.flags & EX_OUT_CHUNKED:
        stream_send(&exchange.client.stream, <const uint8_t*>b"0\r\n\r\n", 5)
        exchange.bytes_out += 5
        exchange.head_out += 5
    return DELIVER_DONE


cdef bint _next_part(Exchange* exchange) noexcept nogil:
    """Begin the next part of several; False: there is none, and the end has been written."""
    cdef CacheUse* use = exchange.cached
    cdef Object* object = use.object
    cdef Slice kind = slice_of(object_head(object).data + object.type_at, object.type_size)
    cdef size_t room = 512 + kind.size
    cdef uint8_t[16] boundary
    cdef Out out
    out_open(&out, exchange, room)
    if use.part == use.range_count:
        out.at += write_last_boundary(_boundary(exchange, boundary), out.at)
        out_send(&out, exchange)
        use.part = NO_PART
        return False
    out.at += write_part_head(_boundary(exchange, boundary), kind, use.ranges[use.part], object.body_size, use.part == 0, out.at, room)
    out_send(&out, exchange)
    use.skip = use.ranges[use.part].first
    use.left = use.ranges[use.part].last - use.ranges[use.part].first + 1
    use.part += 1
    return object.chain == NULL or _join(use, object.chain, use.skip)


cdef int deliver_more(Exchange* exchange) noexcept nogil:
    cdef CacheUse* use = exchange.cached
    cdef Object* object = use.object
    cdef Chain* chain = object.chain
    cdef const uint8_t* data
    cdef uint32_t size, taken
    cdef uint64_t turn = 0
    cdef int state, fd
    cdef int64_t offset = 0
    while True:
        if use.left == 0:
            if use.part == NO_PART or not _next_part(exchange):
                return _end(exchange) if use.part == NO_PART else DELIVER_FAILED
            continue
        if stream_unsent(&exchange.client.stream) >= exchange.listener.buffer:
            exchange.client.stream.want_drained = True
            return DELIVER_BLOCKED
        if turn >= TURN_MOST:
            return DELIVER_LATER
        if chain == NULL:
            fd = -1
            data = object_body(object) + use.skip
            size = <uint32_t>use.left
        else:
            state = load_acquire_int(&chain.state)     # before the bytes: what was filled when it ended is seen
            size = chain_run(use.rules.store.arena, chain, &use.reader, RUN_MOST, &data, &fd, &offset)
            if size == 0:
                if state == CHAIN_COMPLETE:
                    return _end(exchange) if use.left == UNKNOWN else DELIVER_FAILED
                if state == CHAIN_FAILED:
                    return DELIVER_FAILED
                if chain_wait(chain, &use.reader):
                    return DELIVER_WAITS
                continue
            if use.skip > 0:
                size = size if size < use.skip else <uint32_t>use.skip
                use.skip -= size
                chain_read(use.rules.store.arena, chain, &use.reader, size)
                continue
            if size > use.left:
                size = <uint32_t>use.left
        if size > 65536 and (fd < 0 or exchange.flags & EX_OUT_CHUNKED):
            size = 65536
        taken = _send(exchange, data, size, fd, offset)
        exchange.bytes_out += taken
        turn += taken
        if use.left != UNKNOWN:
            use.left -= taken
        if chain != NULL:
            chain_read(use.rules.store.arena, chain, &use.reader, taken)
        else:
            use.skip += taken
        if taken < size:
            exchange.client.stream.want_drained = True
            return DELIVER_BLOCKED
