"""Access records: what an engine submits, a native thread renders and writes."""
from proxyd_ext.log.rules import Rules
from proxyd_ext.log.writer import AccessLog

__all__ = ["AccessLog", "Rules"]
