"""Counting what still uses a snapshot on one engine: exchanges, and listeners that serve out their last connections."""
from proxyd_ext.conn.model cimport Context
from proxyd_ext.snapshot.compile cimport SnapshotData


cdef inline void snapshot_hold(Context* context, SnapshotData* snapshot) noexcept nogil:
    snapshot.local[context.engine].users += 1


# One user less; when it was the last one of a superseded snapshot, the control plane is told that it may go.
cdef void snapshot_release(Context* context, SnapshotData* snapshot) noexcept nogil
