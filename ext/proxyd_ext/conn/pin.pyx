"""Releasing snapshots (see pin.pxd)."""
from proxyd_ext.core.events cimport EVENT_RETIRED, event_push


cdef void snapshot_release(Context* context, SnapshotData* snapshot) noexcept nogil:
    snapshot.local[context.engine].users -= 1
    if snapshot.local[context.engine].users == 0 and snapshot.local[context.engine].superseded:
        snapshot.local[context.engine].retired.kind = EVENT_RETIRED
        snapshot.local[context.engine].retired.number = snapshot.generation
        event_push(context.events, &snapshot.local[context.engine].retired)
