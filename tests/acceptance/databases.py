"""Databases and resolvers of Debian that the acceptance scripts start, turn and end: PostgreSQL with a streaming replica, Redis, unbound.

Each listens on one address of the loopback. `with` ends what was started, whatever happens.
"""
from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.acceptance.stage import free_port, needed, until

HOST = "127.0.0.1"
PASSWORD = "pa'ss wörd"
"""Of the roles `md5`, `scram` and `clear`. Quotes, blanks and UTF-8 must survive."""

POSTGRES_SETTINGS = {
    "fsync": "off", "full_page_writes": "off", "max_connections": "200", "shared_buffers": "16MB", "wal_keep_size": "64MB",
    "wal_receiver_timeout": "2s", "wal_retrieve_retry_interval": "200ms",
}
POSTGRES_ACCESS = f"""\
local all all trust
host replication all {HOST}/32 trust
host all md5 {HOST}/32 md5
host all scram {HOST}/32 scram-sha-256
host all clear {HOST}/32 password
host all refused {HOST}/32 reject
host all all {HOST}/32 trust
"""
POSTGRES_ROLES = """\
create role app login superuser;
create role plain login;
set password_encryption = 'scram-sha-256';
create role scram login password '{password}';
create role clear login password '{password}';
set password_encryption = 'md5';
create role md5 login password '{password}';
create role refused login;
"""


def postgres_program(name: str) -> str:
    """From the newest version that Debian has installed; it stands outside of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    return str(found[-1]) if found else needed(name)


def _owner() -> str | None:
    """Whom PostgreSQL runs as: it refuses root."""
    return "postgres" if os.geteuid() == 0 else None


class Server:
    """A child process with a port of its own, which it keeps when it comes back; its output is in `log`."""

    def __init__(self, folder: Path, name: str, port: int | None = None, host: str = HOST) -> None:
        self.name = name
        self.host = host
        self.port = port or free_port()
        self.log = folder / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP makes it hang, for instance."""
        assert self._child is not None
        self._child.send_signal(number)

    def kill(self) -> None:
        """As a crash would end it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _run(self, command: Sequence[str], ready: Callable[[], object], owner: str | None = None) -> None:
        assert not self.alive, f"{self.name} runs already"
        groups: list[str] | None = None if owner is None else []
        with self.log.open("ab") as sink:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, user=owner, group=owner, extra_groups=groups)
        try:
            until(lambda: not self.alive or ready(), f"{self.name} is ready")
            assert self.alive, f"{self.name} ended"
        except BaseException:
            self.kill()
            print(self.output())
            raise

    def _end(self, number: signal.Signals) -> None:
        if self._child is None:
            return
        if self._child.poll() is None:
            self._child.send_signal(number)
        try:
            self._child.wait(20)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            raise
        finally:
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.alive:
            self.send(signal.SIGCONT)
        self.kill()


class Postgres(Server):
    """One cluster. Roles that log in: `app` (superuser) and `plain` without a password; `md5`, `scram`, `clear` with PASSWORD, each by its
    method; `refused`, whom the server turns away. The database is `postgres`."""

    def __init__(self, folder: Path, name: str, port: int | None = None) -> None:
        super().__init__(folder, name, port)
        self.folder = folder
        self.data = folder / f"{name}.data"

    def create(self) -> None:
        """An empty primary with its roles; started."""
        self._do("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale", "C")
        self._configure()
        self.start()
        self.sql(POSTGRES_ROLES.format(password=PASSWORD.replace("'", "''")))

    def follow(self, primary: Postgres) -> None:
        """A new copy of a primary, as its streaming replica, which has caught up; started. What was here before is lost."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        self._do("pg_basebackup", "-D", str(self.data), "-R", "-c", "fast", "--no-sync", "-d",
                 f"host={HOST} port={primary.port} user=postgres application_name={self.name}")
        self._configure()
        self.start()
        streams = f"select count(*) from pg_stat_replication where application_name = '{self.name}' and state = 'streaming'"
        until(lambda: primary.sql(streams) == "1", f"{self.name} follows {primary.name}")

    def start(self) -> None:
        self._run([postgres_program("postgres"), "-D", str(self.data)], self._answers, _owner())

    def stop(self) -> None:
        """Fast: sessions are ended, and a checkpoint is made."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Immediate, as a crash: SIGKILL would leave its children for a while, and with them the port."""
        self._end(signal.SIGQUIT)

    def promote(self) -> None:
        """The replica becomes a primary; returns when it is one."""
        self._do("pg_ctl", "promote", "-D", str(self.data), "-w")
        until(lambda: not self.is_replica, f"{self.name} is a primary")

    @property
    def is_replica(self) -> bool:
        return self.sql("select pg_is_in_recovery()") == "t"

    def sql(self, text: str) -> str:
        """Rows without a header, columns parted by `|`."""
        return self._psql(text, check=True).stdout.strip()

    def _answers(self) -> bool:
        return self._listens and self._psql("select 1", check=False).returncode == 0

    def _psql(self, text: str, *, check: bool) -> subprocess.CompletedProcess[str]:
        command = [postgres_program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
                   "-d", f"host={HOST} port={self.port} user=postgres dbname=postgres connect_timeout=5"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done

    def _configure(self) -> None:
        settings = POSTGRES_SETTINGS | {"port": str(self.port), "listen_addresses": f"'{HOST}'", "unix_socket_directories": "''"}
        (self.data / "postgresql.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        (self.data / "pg_hba.conf").write_text(POSTGRES_ACCESS)

    def _do(self, program: str, *arguments: str) -> None:
        owner = _owner()
        done = subprocess.run(
            [postgres_program(program), *arguments], cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
            check=False, user=owner, group=owner, extra_groups=None if owner is None else [])
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"


class PostgresPair:
    """A primary and its streaming replica in a folder of their own, which their user may enter (those of pytest it may not)."""

    def __enter__(self) -> PostgresPair:
        self._folder = tempfile.TemporaryDirectory(prefix="proxyd-postgres-")
        folder, owner = Path(self._folder.name), _owner()
        if owner is not None:
            user = pwd.getpwnam(owner)
            os.chown(folder, user.pw_uid, user.pw_gid)
        self.one, self.two = Postgres(folder, "one"), Postgres(folder, "two")
        try:
            self.one.create()
            self.two.follow(self.one)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for server in (self.two, self.one):
            server.__exit__(None, None, None)
        self._folder.cleanup()

    @property
    def primary(self) -> Postgres:
        """Which it is just now; `one` at first."""
        return next(server for server in (self.one, self.two) if server.alive and not server.is_replica)

    @property
    def replica(self) -> Postgres:
        return next(server for server in (self.one, self.two) if server.alive and server.is_replica)

    def switch(self) -> None:
        """The replica becomes the primary, and the old primary, which is stopped before, its replica: as an operator would do it."""
        old, new = self.primary, self.replica
        old.stop()
        new.promote()
        old.follow(new)


class Redis(Server):
    """A redis-server. `options` as on its command line: `--requirepass secret`."""

    def __init__(self, folder: Path, name: str, *options: str, port: int | None = None) -> None:
        super().__init__(folder, name, port)
        self._folder = folder
        self._options = options

    def start(self) -> None:
        command = [needed("redis-server"), "--port", str(self.port), "--bind", HOST, "--save", "", "--dir", str(self._folder),
                   "--repl-diskless-sync-delay", "0", *self._options]
        self._run(command, lambda: self._listens)

    def ask(self, *words: str, password: str = "") -> str:
        """What redis-cli prints for a command."""
        login = ["-a", password, "--no-auth-warning"] if password else []
        done = subprocess.run([needed("redis-cli"), "-h", HOST, "-p", str(self.port), *login, *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def follow(self, primary: Redis, password: str = "") -> None:
        """Become its replica; returns when the link is up."""
        self.ask("REPLICAOF", HOST, str(primary.port), password=password)
        until(lambda: "master_link_status:up" in self.ask("INFO", "replication", password=password), f"{self.name} follows {primary.name}")

    def lead(self, password: str = "") -> None:
        """Become a primary."""
        self.ask("REPLICAOF", "NO", "ONE", password=password)


class Unbound(Server):
    """A resolver that knows only what it is told, over UDP and TCP: `records` as `local-data` takes them ("a.example. 60 A 10.0.0.1").
    Names below `example.` that it is not told do not exist; those below `refused.example.` are refused, those below `broken.`
    are SERVFAIL."""

    def __init__(self, folder: Path, name: str, *records: str, port: int | None = None, host: str = HOST) -> None:
        super().__init__(folder, name, port, host)
        self._config = folder / f"{name}.conf"
        known = "".join(f"  local-data: '{record}'\n" for record in records or ("a.example. 60 A 10.0.0.1",))
        self._config.write_text(
            f"server:\n  interface: {host}@{self.port}\n  access-control: 127.0.0.0/8 allow\n  do-daemonize: no\n  chroot: ''\n"
            f"  username: ''\n  directory: '{folder}'\n  pidfile: ''\n  use-syslog: no\n  logfile: ''\n  num-threads: 1\n"
            "  module-config: iterator\n  do-ip6: no\n  outgoing-range: 64\n"
            "  local-zone: 'example.' static\n  local-zone: 'refused.example.' refuse\n"
            f"{known}"
            f"forward-zone:\n  name: 'broken.'\n  forward-addr: {host}@{free_port()}\n"
            "remote-control:\n  control-enable: no\n"
        )

    def start(self) -> None:
        self._run([needed("unbound"), "-d", "-p", "-c", str(self._config)], lambda: self._listens)
