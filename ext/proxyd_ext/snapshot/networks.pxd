"""Lists of networks, compiled."""
from proxyd_ext.core.address cimport Network

# Networks in CIDR text, longest prefix first; where the same is allowed and denied, deny counts.  The caller frees them.
cdef Network* networks_compile(allow, deny, int* count) except? NULL
