"""How many files the process may have open: every connection is one; the usual soft limit of 1,024 is for programs that use select()."""
from __future__ import annotations

import resource


def allow_many_files() -> int:
    """Raise the soft limit to the hard one, which is what the administrator allows. The limit that holds then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):      # a hard limit of "unlimited" is above what the kernel gives
        return soft
    return hard
