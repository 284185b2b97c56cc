# cython: cdivision=True
"""Datagram sockets (see datagram.pxd).

What does not fit into the kernel's buffers is dropped and counted, never kept: whoever speaks UDP reckons with loss, and a queue of ours
would only make what is late later.
"""
from libc.errno cimport EPERM
from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset
from proxyd_ext.core.address cimport ADDRESS_TEXT, ADDRESS_V4, ADDRESS_V6, address_write
from proxyd_ext.core.shim cimport INVARIANT, PXD_LIKELY
from proxyd_ext.core.slice cimport slice_of
from proxyd_ext.io.peer cimport peer_address
from proxyd_ext.io.sys cimport (
    AF_INET, AF_INET6, CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_NXTHDR, CMSG_SPACE, EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE, ENOBUFS, ENOMEM,
    EOPNOTSUPP, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, IPV6_PKTINFO, IPV6_RECVPKTINFO, IP_PKTINFO, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC,
    UDP_GRO, UDP_SEGMENT, cmsghdr, errno, getsockopt, htons, in6_pktinfo, in_pktinfo, inet_pton, msghdr, recv, recvmmsg, recvmsg, sendmmsg,
    sendmsg, setsockopt, send as send_bytes, sockaddr_in, sockaddr_storage, socklen_t,
)

cdef enum:
    PAYLOAD_MOST = 65507      # bytes that one piece may have, joined or not (IPv4)
    WORTH_JOINING = 4         # single datagrams that are joined; fewer cost more than they save

    LOSS_NONE = 0             # what a failed send means: try again
    LOSS_ONE = 1              # this one is lost
    LOSS_ALL = 2              # and so are the others: no room
    LOSS_PEER = 3             # nobody is there

cdef const char* _MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"   # RFC 4291 §2.5.5.2


# ---- addresses ----

cdef bint datagram_local(const DatagramPath* path, Address* out) noexcept nogil:
    if path.local_family == 0:
        return False
    memset(out, 0, sizeof(Address))
    if path.local_family == AF_INET:
        out.family = ADDRESS_V4
        memcpy(out.bytes, path.local, 4)
    elif memcmp(path.local, _MAPPED, 12) == 0:
        out.family = ADDRESS_V4
        memcpy(out.bytes, path.local + 12, 4)
    else:
        out.family = ADDRESS_V6
        memcpy(out.bytes, path.local, 16)
    return True


cdef bint datagram_tell_local(int fd, int family) noexcept nogil:
    cdef int on = 1
    if family == AF_INET6:
        return setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) == 0
    return setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) == 0


cdef bint datagram_join(int fd) noexcept nogil:
    cdef int on = 1
    return setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) == 0


cdef bint datagram_is_joined(int fd) noexcept nogil:
    cdef int on = 0
    cdef socklen_t size = sizeof(on)
    return getsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, &size) == 0 and on != 0


# ---- receiving ----

cdef int datagram_batch_init(DatagramBatch* batch) noexcept nogil:
    cdef int i
    memset(batch, 0, sizeof(DatagramBatch))
    batch.slots = <uint8_t*>malloc(<size_t>DATAGRAM_BATCH * DATAGRAM_STRIDE)
    batch.arena = <uint8_t*>malloc(QUEUE_ARENA)
    if batch.slots == NULL or batch.arena == NULL:
        datagram_batch_destroy(batch)
        return -ENOMEM
    for i in range(DATAGRAM_BATCH):
        batch.parts[i].iov_base = batch.slots + <size_t>i * DATAGRAM_STRIDE
        batch.parts[i].iov_len = DATAGRAM_BYTES
        batch.heads[i].msg_hdr.msg_iov = &batch.parts[i]
        batch.heads[i].msg_hdr.msg_iovlen = 1
    return 0


cdef void datagram_batch_destroy(DatagramBatch* batch) noexcept nogil:
    free(batch.slots)
    free(batch.arena)
    batch.slots = NULL
    batch.arena = NULL


cdef void _read_told(msghdr* head, Datagram* out, DatagramPath* path) noexcept nogil:
    """What the kernel says beside the bytes. `path` NULL: nobody asks."""
    cdef cmsghdr* told = CMSG_FIRSTHDR(head)
    cdef int segment
    while told != NULL:
        if told.cmsg_level == IPPROTO_UDP and told.cmsg_type == UDP_GRO:
            memcpy(&segment, CMSG_DATA(told), sizeof(segment))
            if 0 < segment < <int>out.size:
                out.segment = <uint32_t>segment
        elif path != NULL and told.cmsg_level == IPPROTO_IP and told.cmsg_type == IP_PKTINFO:
            path.local_family = AF_INET
            memcpy(path.local, &(<in_pktinfo*>CMSG_DATA(told)).ipi_addr, 4)
        elif path != NULL and told.cmsg_level == IPPROTO_IPV6 and told.cmsg_type == IPV6_PKTINFO:
            path.local_family = AF_INET6
            memcpy(path.local, &(<in6_pktinfo*>CMSG_DATA(told)).ipi6_addr, 16)
        told = CMSG_NXTHDR(head, told)


cdef int datagrams_receive(DatagramBatch* batch, int fd, int most, bint paths, bint told) noexcept nogil:
    cdef msghdr* head
    cdef Datagram* out
    cdef int i, n
    INVARIANT(0 < most <= DATAGRAM_BATCH)
    for i in range(most):
        head = &batch.heads[i].msg_hdr
        head.msg_name = &batch.paths[i].peer if paths else NULL
        head.msg_namelen = sizeof(sockaddr_in6) if paths else 0
        head.msg_control = &batch.control[i][0] if told else NULL
        head.msg_controllen = DATAGRAM_CONTROL if told else 0
    n = recvmmsg(fd, batch.heads, <unsigned int>most, MSG_DONTWAIT, NULL)
    if n < 0:
        return 0 if errno == EAGAIN or errno == EINTR else -errno
    for i in range(n):
        head = &batch.heads[i].msg_hdr
        out = &batch.taken[i]
        out.data = <uint8_t*>batch.parts[i].iov_base
        out.size = batch.heads[i].msg_len
        out.segment = 0
        out.cut = head.msg_flags & MSG_TRUNC != 0
        if paths:
            batch.paths[i].peer_size = head.msg_namelen
            batch.paths[i].local_family = 0
        if told:
            _read_told(head, out, &batch.paths[i] if paths else NULL)
    return n


cdef int datagram_receive(int fd, uint8_t* into, uint32_t room, bint told, Datagram* out) noexcept nogil:
    cdef uint8_t[DATAGRAM_CONTROL] control
    cdef msghdr head
    cdef iovec part
    cdef ssize_t n
    out.data = into
    out.segment = 0
    if not told:
        n = recv(fd, into, room, MSG_DONTWAIT | MSG_TRUNC)
        out.cut = n > <ssize_t>room
    else:
        memset(&head, 0, sizeof(head))
        part.iov_base = into
        part.iov_len = room
        head.msg_iov = &part
        head.msg_iovlen = 1
        head.msg_control = control
        head.msg_controllen = DATAGRAM_CONTROL
        n = recvmsg(fd, &head, MSG_DONTWAIT)
        out.cut = head.msg_flags & MSG_TRUNC != 0
    if n < 0:
        return 0 if errno == EAGAIN or errno == EINTR else -errno
    out.size = <uint32_t>n
    if told:
        _read_told(&head, out, NULL)
    return 1


# ---- sending ----

cdef size_t _write_local(uint8_t* control, const DatagramPath* path) noexcept nogil:
    """Ask for the address that it leaves from; the bytes written."""
    cdef cmsghdr* told = <cmsghdr*>control
    if path.local_family == AF_INET:
        memset(control, 0, CMSG_SPACE(sizeof(in_pktinfo)))
        told.cmsg_len = CMSG_LEN(sizeof(in_pktinfo))
        told.cmsg_level = IPPROTO_IP
        told.cmsg_type = IP_PKTINFO
        memcpy(&(<in_pktinfo*>CMSG_DATA(told)).ipi_spec_dst, path.local, 4)
        return CMSG_SPACE(sizeof(in_pktinfo))
    if path.local_family == AF_INET6:
        memset(control, 0, CMSG_SPACE(sizeof(in6_pktinfo)))
        told.cmsg_len = CMSG_LEN(sizeof(in6_pktinfo))
        told.cmsg_level = IPPROTO_IPV6
        told.cmsg_type = IPV6_PKTINFO
        memcpy(&(<in6_pktinfo*>CMSG_DATA(told)).ipi6_addr, path.local, 16)
        return CMSG_SPACE(sizeof(in6_pktinfo))
    return 0


cdef size_t _write_segment(uint8_t* control, uint16_t segment) noexcept nogil:
    cdef cmsghdr* told = <cmsghdr*>control
    memset(control, 0, CMSG_SPACE(sizeof(segment)))
    told.cmsg_len = CMSG_LEN(sizeof(segment))
    told.cmsg_level = IPPROTO_UDP
    told.cmsg_type = UDP_SEGMENT
    memcpy(CMSG_DATA(told), &segment, sizeof(segment))
    return CMSG_SPACE(sizeof(segment))


cdef void _address(msghdr* head, const DatagramPath* path, uint8_t* control) noexcept nogil:
    memset(head, 0, sizeof(msghdr))
    if path == NULL:
        return
    head.msg_name = <void*>&path.peer
    head.msg_namelen = path.peer_size
    head.msg_controllen = _write_local(control, path)
    if head.msg_controllen > 0:
        head.msg_control = control


cdef int _loss(int error, bint connected) noexcept nogil:
    """LOSS_*: what a failed send means."""
    if error == EINTR:
        return LOSS_NONE
    if error == EAGAIN or error == ENOBUFS or error == ENOMEM:
        return LOSS_ALL
    if not connected or error == EMSGSIZE or error == EPERM or error == EINVAL:
        return LOSS_ONE
    return LOSS_PEER


cdef int _run(const Datagram* datagrams, int count) noexcept nogil:
    """How many from the first on can leave as one joined piece, which are of one size but for the last; 0: it is not worth it."""
    cdef uint32_t unit = datagrams[0].segment if datagrams[0].segment > 0 else datagrams[0].size
    cdef uint32_t total = 0, pieces = 0, each
    cdef int i = 0
    if unit == 0:
        return 0
    while i < count:
        each = datagrams[i].segment if datagrams[i].segment > 0 else datagrams[i].size
        if each == 0 or each > unit or (datagrams[i].segment > 0 and each != unit):
            break
        if total + datagrams[i].size > PAYLOAD_MOST or pieces + datagram_count(&datagrams[i]) > DATAGRAM_SEGMENTS:
            break
        total += datagrams[i].size
        pieces += datagram_count(&datagrams[i])
        i += 1
        if total % unit != 0:
            break             # the shorter one was the last
    if datagrams[0].segment == 0 and i < WORTH_JOINING:
        return 0
    return i


cdef ssize_t _send_joined(int fd, const DatagramPath* path, const Datagram* datagrams, int count) noexcept nogil:
    cdef uint8_t[DATAGRAM_CONTROL] control
    cdef iovec[DATAGRAM_BATCH] parts
    cdef msghdr head
    cdef int i
    _address(&head, path, control)
    for i in range(count):
        parts[i].iov_base = datagrams[i].data
        parts[i].iov_len = datagrams[i].size
    head.msg_iov = parts
    head.msg_iovlen = count
    head.msg_controllen += _write_segment(
        control + head.msg_controllen, <uint16_t>(datagrams[0].segment if datagrams[0].segment > 0 else datagrams[0].size))
    head.msg_control = control
    return sendmsg(fd, &head, MSG_DONTWAIT | MSG_NOSIGNAL)


cdef ssize_t _send_one(int fd, const DatagramPath* path, Slice head, const Datagram* datagram) noexcept nogil:
    cdef uint8_t[DATAGRAM_CONTROL] control
    cdef iovec[2] parts
    cdef msghdr message
    if path == NULL and head.size == 0:
        return send_bytes(fd, datagram.data, datagram.size, MSG_DONTWAIT | MSG_NOSIGNAL)
    _address(&message, path, control)
    parts[0].iov_base = <void*>head.data
    parts[0].iov_len = head.size
    parts[1].iov_base = datagram.data
    parts[1].iov_len = datagram.size
    message.msg_iov = &parts[0] if head.size > 0 else &parts[1]
    message.msg_iovlen = 2 if head.size > 0 else 1
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)


cdef int _send_apart(int fd, const DatagramPath* path, Slice head, const Datagram* datagrams, int count, uint32_t offset,
                     bint stop) noexcept nogil:
    """One call for up to DATAGRAM_BATCH single datagrams, the first one from `offset` bytes into what was joined. How many were sent, or
    -1. `stop`: not the ones that came joined, which others send."""
    cdef uint8_t[DATAGRAM_CONTROL] control
    cdef mmsghdr[DATAGRAM_BATCH] messages
    cdef iovec[2 * DATAGRAM_BATCH] parts
    cdef uint32_t size
    cdef int i = 0, n = 0
    cdef int step = 2 if head.size > 0 else 1
    _address(&messages[0].msg_hdr, path, control)
    while i < count and n < DATAGRAM_BATCH:
        if stop and i > 0 and datagrams[i].segment > 0:
            break
        size = datagrams[i].size - offset
        if datagrams[i].segment > 0 and size > datagrams[i].segment:
            size = datagrams[i].segment
        messages[n].msg_hdr = messages[0].msg_hdr
        messages[n].msg_hdr.msg_iov = &parts[step * n]
        messages[n].msg_hdr.msg_iovlen = step
        parts[step * n].iov_base = <void*>head.data
        parts[step * n].iov_len = head.size
        parts[step * n + step - 1].iov_base = datagrams[i].data + offset
        parts[step * n + step - 1].iov_len = size
        n += 1
        offset += size
        if offset == datagrams[i].size:
            offset = 0
            i += 1
    return sendmmsg(fd, messages, <unsigned int>n, MSG_DONTWAIT | MSG_NOSIGNAL)


cdef void _count(Sent* sent, const Datagram* datagrams, int count, uint32_t offset, bint refused) noexcept nogil:
    cdef int i
    cdef uint32_t pieces = 0, done = 0
    for i in range(count):
        pieces += datagram_count(&datagrams[i])
        sent.bytes += 0 if refused else datagrams[i].size
    if count > 0 and offset > 0:
        done = offset // datagrams[0].segment
        sent.bytes -= 0 if refused else offset
    if refused:
        sent.refused += pieces - done
    else:
        sent.packets += pieces - done


cdef int datagrams_send(int fd, const DatagramPath* path, Slice head, const Datagram* datagrams, int count, bint* join, Sent* sent,
                        int* error) noexcept nogil:
    cdef int i = 0, n, loss
    cdef uint32_t offset = 0
    cdef uint32_t size
    cdef ssize_t done
    while i < count:
        n = 0
        if PXD_LIKELY(count - i == 1 and datagrams[i].segment == 0):
            n = 1
            done = _send_one(fd, path, head, &datagrams[i])
        else:
            if join[0] and head.size == 0 and offset == 0:
                n = _run(&datagrams[i], count - i)
            if n > 0:
                done = _send_joined(fd, path, &datagrams[i], n)
                if done < 0 and (errno == EINVAL or errno == EIO or errno == EOPNOTSUPP or errno == EMSGSIZE):
                    join[0] = False   # too long for the way to this peer, or a card without checksums
                    continue
            else:
                done = _send_apart(fd, path, head, &datagrams[i], count - i, offset, join[0] and head.size == 0)
        if done >= 0 and n > 0:
            _count(sent, &datagrams[i], n, 0, False)
            i += n
            continue
        if done < 0:
            loss = _loss(errno, path == NULL)
            if loss == LOSS_NONE:
                continue
            if loss == LOSS_PEER:
                error[0] = errno
                return i
            if loss == LOSS_ALL:
                _count(sent, &datagrams[i], count - i, offset, True)
                return count
            if n > 1 or (n == 1 and datagrams[i].segment > 0):
                _count(sent, &datagrams[i], n, 0, True)
                i += n
                continue
        # `done` single ones have left; or the first one is lost.
        n = 1 if done < 0 else <int>done
        while n > 0:
            size = datagrams[i].size - offset
            if datagrams[i].segment > 0 and size > datagrams[i].segment:
                size = datagrams[i].segment
            if done < 0:
                sent.refused += 1
            else:
                sent.packets += 1
                sent.bytes += size
            n -= 1
            offset += size
            if offset == datagrams[i].size:
                offset = 0
                i += 1
    return count


# ---- the queue ----

cdef void datagram_queue_init(DatagramQueue* queue, DatagramBatch* batch) noexcept nogil:
    cdef int i
    memset(queue, 0, sizeof(DatagramQueue))
    queue.batch = batch
    for i in range(DATAGRAM_BATCH):
        queue.heads[i].msg_hdr.msg_iov = &queue.parts[i]
        queue.heads[i].msg_hdr.msg_iovlen = 1
        queue.heads[i].msg_hdr.msg_name = &queue.paths[i].peer


cdef uint8_t* datagram_queue_room(DatagramQueue* queue, uint32_t size) noexcept nogil:
    if queue.count == DATAGRAM_BATCH or queue.batch.arena_used + size > QUEUE_ARENA:
        return NULL
    return queue.batch.arena + queue.batch.arena_used


cdef void datagram_queue_add(DatagramQueue* queue, uint32_t size, const DatagramPath* path) noexcept nogil:
    cdef uint32_t i = queue.count
    cdef msghdr* head = &queue.heads[i].msg_hdr
    INVARIANT(i < DATAGRAM_BATCH)
    queue.parts[i].iov_base = queue.batch.arena + queue.batch.arena_used
    queue.parts[i].iov_len = size
    # The flow that it is of may be over before the flush.
    memcpy(&queue.paths[i].peer, &path.peer, path.peer_size)
    head.msg_namelen = path.peer_size
    head.msg_controllen = _write_local(&queue.control[i][0], path)
    head.msg_control = &queue.control[i][0] if head.msg_controllen > 0 else NULL
    queue.count += 1
    queue.batch.arena_used += size
    queue.batch.queued += 1


cdef void datagram_queue_send(DatagramQueue* queue, int fd, Sent* sent) noexcept nogil:
    cdef uint32_t at = 0, i
    cdef int n, loss
    while at < queue.count:
        n = sendmmsg(fd, &queue.heads[at], queue.count - at, MSG_DONTWAIT | MSG_NOSIGNAL)
        if n > 0:
            for i in range(at, at + <uint32_t>n):
                sent.bytes += queue.parts[i].iov_len
            sent.packets += n
            at += <uint32_t>n
            continue
        loss = _loss(errno, False)
        if loss == LOSS_ALL:
            sent.refused += queue.count - at
            break
        if loss == LOSS_ONE:
            sent.refused += 1
            at += 1
    queue.batch.queued -= queue.count
    queue.count = 0
    if queue.batch.queued == 0:
        queue.batch.arena_used = 0


# ---- for tests and tools ----

cdef str _text(const Address* address):
    cdef uint8_t[ADDRESS_TEXT] text
    return (<const char*>text)[:address_write(address, text)].decode()


def tell_local(int fd, int family) -> bool:
    return datagram_tell_local(fd, family)


def join(int fd) -> bool:
    return datagram_join(fd)


def receive(int fd, int most, *, bint told = False) -> list:
    cdef DatagramBatch* batch = <DatagramBatch*>malloc(sizeof(DatagramBatch))
    cdef Address peer, local
    cdef int i, n
    if batch == NULL or datagram_batch_init(batch) < 0:
        free(batch)
        raise MemoryError
    out = []
    try:
        n = datagrams_receive(batch, fd, most, True, told)
        if n < 0:
            raise OSError(-n, "recvmmsg")
        for i in range(n):
            peer_address(<const sockaddr_storage*>&batch.paths[i].peer, &peer)
            where = _text(&local) if datagram_local(&batch.paths[i], &local) else None
            out.append(((<const char*>batch.taken[i].data)[:batch.taken[i].size], batch.taken[i].segment, (_text(&peer), peer.port), where))
    finally:
        datagram_batch_destroy(batch)
        free(batch)
    return out


def send(int fd, pieces, *, bytes head = b"", bint join = True) -> dict:
    cdef Datagram[DATAGRAM_BATCH] datagrams
    cdef Sent sent
    cdef int i, done, error = 0
    cdef bint joins = join
    memset(&sent, 0, sizeof(sent))
    memset(datagrams, 0, sizeof(datagrams))
    kept = list(pieces)
    if len(kept) > DATAGRAM_BATCH:
        raise ValueError(f"at most {DATAGRAM_BATCH} pieces at a time")
    for i in range(len(kept)):
        data, segment = kept[i]
        datagrams[i].data = <uint8_t*><char*><bytes>data
        datagrams[i].size = <uint32_t>len(data)
        datagrams[i].segment = segment
    done = datagrams_send(fd, NULL, slice_of(<const uint8_t*><const char*>head, len(head)), datagrams, len(kept), &joins, &sent, &error)
    return {"done": done, "error": error, "packets": sent.packets, "bytes": sent.bytes, "refused": sent.refused, "join": bool(joins)}


def queue(int fd, pieces, to, local = None) -> dict:
    """Send by the queue, as answers are; `local`: the address (IPv4) that they leave from."""
    cdef DatagramBatch* batch = <DatagramBatch*>malloc(sizeof(DatagramBatch))
    cdef DatagramQueue* waiting = <DatagramQueue*>malloc(sizeof(DatagramQueue))
    cdef DatagramPath path
    cdef Sent sent
    cdef uint8_t* room
    cdef bytes data
    memset(&sent, 0, sizeof(sent))
    memset(&path, 0, sizeof(path))
    (<sockaddr_in*>&path.peer).sin_family = AF_INET
    (<sockaddr_in*>&path.peer).sin_port = htons(<unsigned short>to[1])
    path.peer_size = sizeof(sockaddr_in)
    if batch == NULL or waiting == NULL or datagram_batch_init(batch) < 0:
        free(batch)
        free(waiting)
        raise MemoryError
    try:
        if inet_pton(AF_INET, <bytes>to[0].encode(), &(<sockaddr_in*>&path.peer).sin_addr) != 1:
            raise ValueError(f"not an IPv4 address: {to[0]}")
        if local is not None:
            path.local_family = AF_INET
            inet_pton(AF_INET, <bytes>local.encode(), path.local)
        datagram_queue_init(waiting, batch)
        full = 0
        for each in pieces:
            data = each
            room = datagram_queue_room(waiting, DATAGRAM_BYTES)
            if room == NULL:
                full += 1
                datagram_queue_send(waiting, fd, &sent)
                room = datagram_queue_room(waiting, DATAGRAM_BYTES)
            memcpy(room, <const char*>data, len(data))
            datagram_queue_add(waiting, <uint32_t>len(data), &path)
        datagram_queue_send(waiting, fd, &sent)
    finally:
        datagram_batch_destroy(batch)
        free(batch)
        free(waiting)
    return {"packets": sent.packets, "bytes": sent.bytes, "refused": sent.refused, "full": full}
