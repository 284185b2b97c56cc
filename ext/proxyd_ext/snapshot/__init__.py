"""The immutable compiled config: specs (spec.py) compiled into C structs (compile.pyx)."""
from proxyd_ext.snapshot.compile import Snapshot

__all__ = ["Snapshot"]
