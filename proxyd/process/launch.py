"""Begins a program with descriptors in a row from 3 on, as sd_listen_fds(3) wants them, and with its own process id where the environment
has to name it. Run by its path, in an interpreter without site packages, because between fork and exec of a process with threads nothing
of this could be done safely:

    python -I -S launch.py FD,FD,... PROGRAM ARGUMENT...
"""
import fcntl
import os
import sys

FIRST_FD = 3


def main() -> None:
    fds = [int(fd) for fd in sys.argv[1].split(",")]
    above = max(*fds, FIRST_FD + len(fds))
    spare = [fcntl.fcntl(fd, fcntl.F_DUPFD, above + 1) for fd in fds]      # out of the way of one another
    for fd in fds:
        os.close(fd)
    for place, fd in enumerate(spare, FIRST_FD):
        os.dup2(fd, place)
        os.close(fd)
    os.environ["LISTEN_PID"] = str(os.getpid())
    if "WATCHDOG_USEC" in os.environ:
        os.environ["WATCHDOG_PID"] = str(os.getpid())
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"cannot start {sys.argv[2]}: {error.strerror}")


if __name__ == "__main__":
    main()
