"""`AccessLog`: what the control plane holds, and where an engine finds its ring."""
from proxyd_ext.log.ring cimport LogRing
from proxyd_ext.log.rules cimport Rules
from proxyd_ext.log.thread cimport LogWriter


cdef class AccessLog:
    cdef LogWriter* _writer
    cdef Rules _rules
    cdef int _state              # STATE_* of writer.pyx
    cdef object __weakref__

    # The ring of one engine; NULL: there is no such engine.  It lives as long as this object, which the engine therefore keeps.
    cdef LogRing* ring(self, int engine) noexcept nogil
    cdef void _end(self) noexcept
