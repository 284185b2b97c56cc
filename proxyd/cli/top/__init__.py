"""`proxyd top`: what the daemon does now, live, in a terminal."""
