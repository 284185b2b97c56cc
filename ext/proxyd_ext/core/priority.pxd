"""Classes of requests: who waits is served, and who is too much is shed, by class."""


cdef enum:
    CLASS_LOW = 0
    CLASS_NORMAL = 1
    CLASS_HIGH = 2
    CLASS_CRITICAL = 3
    CLASSES = 4
