"""Access records: engines' rings written from here, read and rendered by the native log thread, reopened and flushed meanwhile."""
from __future__ import annotations

import os
import tempfile

from proxyd_ext.log import AccessLog

ENGINES = 2
ROUNDS = 200
BATCH = 50


def main() -> None:
    with tempfile.TemporaryFile() as first, tempfile.TemporaryFile() as second:
        files = (first.fileno(), second.fileno())
        log = AccessLog(files[0], "json", ENGINES)
        log.start()
        for turn in range(ROUNDS):
            for number in range(BATCH):
                log.submit(number % ENGINES, {"id": turn * BATCH + number, "path": b"/" * (number * 7)})
            if turn % 10 == 0:
                log.reopen(files[turn // 10 % 2])
            if turn % 7 == 0:
                log.flush()
        log.stop()
        assert log.written + log.dropped == ROUNDS * BATCH, (log.written, log.dropped)
        assert sum(os.fstat(fd).st_size for fd in files) > 0
        print(f"{log.written} written, {log.dropped} dropped")


if __name__ == "__main__":
    main()
