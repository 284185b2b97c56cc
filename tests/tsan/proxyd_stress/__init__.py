"""Native stress: each module runs the two ends of one hand-over on threads of their own, without the GIL, for ThreadSanitizer to watch."""
