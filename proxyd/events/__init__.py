"""What happened lately: servers that left and returned, reloads, circuits, changes by operators, what went wrong inside."""
