"""Two buffers that change places: the taker goes off with the full one and leaves the other, so that the lock is held for no longer than
one line takes to copy."""
from libc.errno cimport ENOMEM, errno
from libc.stdint cimport uint64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from posix.unistd cimport close
from proxyd_ext.core.shim cimport counter_add
from proxyd_ext.log.posix cimport (
    EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfd_read, eventfd_write, pthread_mutex_destroy, pthread_mutex_init, pthread_mutex_lock,
    pthread_mutex_unlock)


cdef int tap_init(LogTap* tap) noexcept nogil:
    tap.filled = 0
    tap.dropped = 0
    pthread_mutex_init(&tap.lock, NULL)
    tap.lines = <uint8_t*>malloc(TAP_BYTES)
    tap.spare = <uint8_t*>malloc(TAP_BYTES)
    tap.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if tap.lines != NULL and tap.spare != NULL and tap.event_fd >= 0:
        return 0
    return ENOMEM if tap.lines == NULL or tap.spare == NULL else errno


cdef void tap_free(LogTap* tap) noexcept nogil:
    free(tap.lines)
    free(tap.spare)
    if tap.event_fd >= 0:
        close(tap.event_fd)
    pthread_mutex_destroy(&tap.lock)


cdef void tap_put(LogTap* tap, const uint8_t* line, size_t size) noexcept nogil:
    cdef bint first = False, room
    pthread_mutex_lock(&tap.lock)
    room = TAP_BYTES - tap.filled >= size
    if room:
        first = tap.filled == 0
        memcpy(tap.lines + tap.filled, line, size)
        tap.filled += size
    pthread_mutex_unlock(&tap.lock)
    if not room:
        counter_add(&tap.dropped, 1)
    elif first:
        eventfd_write(tap.event_fd, 1)


cdef size_t tap_take(LogTap* tap, const uint8_t** out) noexcept nogil:
    cdef uint8_t* full
    cdef uint64_t count
    cdef size_t size
    eventfd_read(tap.event_fd, &count)     # before the look: a line that comes after it rings again
    pthread_mutex_lock(&tap.lock)
    full = tap.lines
    size = tap.filled
    tap.lines = tap.spare
    tap.spare = full
    tap.filled = 0
    pthread_mutex_unlock(&tap.lock)
    out[0] = full
    return size
