"""Where the credential of a request is."""
from proxyd_ext.core.slice cimport Slice
from proxyd_ext.filter.rules cimport AuthRule
from proxyd_ext.filter.state cimport FilterState


# data NULL: there is none (or it is ambiguous: of a field that came twice neither is believed).  May stand in state.scratch.
cdef Slice credential_find(const AuthRule* rule, FilterState* state) noexcept nogil
