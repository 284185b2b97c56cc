"""What bounds requests: rates, numbers in flight, places of routes, bans, and the overload guard."""
