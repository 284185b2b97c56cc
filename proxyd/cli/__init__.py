"""The command line (interface.md §3). `main` is the program; the verbs are in `verbs/`, one file each, imported when used."""
from proxyd.cli.entry import main

__all__ = ["main"]
