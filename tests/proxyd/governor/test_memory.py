from __future__ import annotations

from pathlib import Path

import pytest

from proxyd.governor.memory import Memory, MemoryReader

MIB = 1 << 20
V2, V1 = "0::/app/web\n", "5:cpu,memory:/app\n4:pids:/app\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine of 64 MiB, and a process of 6 pages."""
    write(tmp_path, "proc/self/statm", "99 6 3 1 0 20 0\n")
    write(tmp_path, "proc/meminfo", "MemFree:  12 kB\nMemTotal:       65536 kB\n")
    return tmp_path


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(("groups", "files", "limit"), [
    ("", {}, 64),
    (V2, {}, 64),
    (V2, {"app/web/memory.max": "max\n"}, 64),
    (V2, {"app/web/memory.max": f"{8 * MIB}\n"}, 8),
    (V2, {"app/web/memory.max": f"{8 * MIB}\n", "app/memory.max": f"{4 * MIB}\n"}, 4),      # the group around it
    (V2, {"memory.max": f"{2 * MIB}\n"}, 2),               # a container's own root: the path is not there
    (V2, {"app/web/memory.max": f"{128 * MIB}\n"}, 64),
    (V1, {"memory/app/memory.limit_in_bytes": f"{16 * MIB}\n"}, 16),
    (V1, {"memory/memory.limit_in_bytes": f"{32 * MIB}\n"}, 32),
    (V1, {"memory/app/memory.limit_in_bytes": "9223372036854771712\n"}, 64),
    (V1 + "0::/\n", {"memory/app/memory.limit_in_bytes": f"{16 * MIB}\n", "memory.max": f"{9 * MIB}\n"}, 9),
])
def test_the_least_bound_holds(root: Path, groups: str, files: dict[str, str], limit: int) -> None:
    write(root, "proc/self/cgroup", groups)
    for path, text in files.items():
        write(root, f"sys/fs/cgroup/{path}", text)
    memory = MemoryReader(root, 4096).read()
    assert memory == Memory(6 * 4096, limit * MIB)


def test_a_system_that_does_not_tell(root: Path) -> None:
    (root / "proc/meminfo").unlink()
    assert MemoryReader(root).read() is None
    write(root, "proc/meminfo", "MemTotal:  4 kB\n")
    assert MemoryReader(root).read() is not None
    write(root, "proc/self/statm", "")
    assert MemoryReader(root).read() is None
    (root / "proc/self/statm").unlink()
    assert MemoryReader(root).read() is None


def test_of_this_process() -> None:
    memory = MemoryReader().read()
    assert memory is not None
    assert MIB < memory.used < memory.limit
    assert 0 < memory.share < 1
