"""One thread's life: `Engine`."""
from proxyd_ext.engine.engine import Engine

__all__ = ["Engine"]
