"""One file for each verb; `command` in it is the click command."""
