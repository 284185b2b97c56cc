"""Where the admin API is reached: `unix:PATH`, `HOST:PORT`, `http://[USER[:PASSWORD]@]HOST:PORT`; and where it is when nobody said.

The default socket is the first of these whose folder can be used:

1. `/run/proxyd/admin.sock` for root,
2. `$XDG_RUNTIME_DIR/proxyd/admin.sock`,
3. `/run/proxyd/admin.sock` when that folder is writable (a service manager made it for us),
4. `proxyd-UID/admin.sock` in the folder for temporary files.

The command line looks at the same places in the same order. A second daemon of the same user finds the socket taken and uses
`admin-PID.sock` beside it, which has to be named with --admin.
"""
from __future__ import annotations

import ipaddress
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

SOCKET_NAME = "admin.sock"


class AddressError(ValueError):
    """The text is not an admin address; the message says what is wrong and how it is spelt."""


@dataclass(frozen=True, slots=True)
class UnixAddress:
    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    host: str
    port: int
    user: str = ""         # "": nobody was named
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Never with the user and the password: messages and logs show it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it. A name other than `localhost` could resolve to anything, so it counts as reachable."""
        return is_loopback_host(self.host)


AdminAddress = UnixAddress | TcpAddress


def is_loopback_host(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def parse_address(text: str) -> AdminAddress:
    """`unix:/run/x.sock`, `/run/x.sock`, `127.0.0.1:2080`, `[::1]:2080`, `:2080` (loopback), `http://localhost:2080`, `http://ops:PASSWORD@…`
    (percent-encoded where it must be, as in every URL).

    Raises AddressError, whose message never holds a password.
    """
    spelling = "write unix:/path/to.sock or 127.0.0.1:2080"
    if text.startswith("unix:"):
        path = text[5:].removeprefix("//")
        if not path:
            raise AddressError(f"the admin address `{text}` names no path; {spelling}")
        return UnixAddress(path)
    if text.startswith(("/", "./", "../")):
        return UnixAddress(text)
    scheme, _, rest = text.rpartition("://")
    credentials, at, shown = rest.rpartition("@")
    if scheme == "https":
        raise AddressError(f"the admin API does not speak TLS, so `https://{shown}` cannot be reached; {spelling}")
    if scheme not in {"", "http"} or "/" in credentials:
        raise AddressError(f"`{shown}` is not an admin address; {spelling}")
    host, port = _host_and_port(shown, spelling)
    if not at:
        return TcpAddress(host, port)
    user, _, password = credentials.partition(":")
    if not user:
        raise AddressError(f"the admin address `{shown}` has a password, but no user; write http://USER:PASSWORD@HOST:PORT")
    return TcpAddress(host, port, unquote(user), unquote(password))


def _host_and_port(text: str, spelling: str) -> tuple[str, int]:
    host, colon, port_text = text.rstrip("/").rpartition(":")
    if not colon or not port_text.isascii() or not port_text.isdigit():
        raise AddressError(f"the admin address `{text}` has no port; {spelling}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError(f"put the IPv6 address of `{text}` in brackets: [{host}]:{port_text}")
    port = int(port_text)
    if port > 65535:
        raise AddressError(f"{port} is not a port (0 to 65535) in the admin address `{text}`")
    if "/" in host:
        raise AddressError(f"`{text}` is not an admin address; {spelling}")
    return host or "127.0.0.1", port


def with_credentials(address: AdminAddress, environ: Mapping[str, str] = os.environ) -> AdminAddress:
    """A TCP address with the user and the password of the environment where it has none; a command line can be seen by all users."""
    if isinstance(address, UnixAddress):
        return address
    user, password = address.user or environ.get("PROXYD_ADMIN_USER", ""), address.password or environ.get("PROXYD_ADMIN_PASSWORD", "")
    return replace(address, user=user, password=password)


def socket_folders(environ: Mapping[str, str] = os.environ, uid: int | None = None) -> list[Path]:
    """The folders of the default socket, best first (see the head of this file)."""
    uid = os.geteuid() if uid is None else uid
    system, temporary = Path("/run/proxyd"), Path(tempfile.gettempdir(), f"proxyd-{uid}")
    if uid == 0:
        return [system, temporary]
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    return [*([Path(runtime, "proxyd")] if runtime.startswith("/") else []), system, temporary]


def maybe_private_folder(folder: Path) -> Path | None:
    """Make `folder` (mode 0700) or take the existing one.

    None when it cannot be used: it is not ours, or others could replace the socket in it.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid not in {os.geteuid(), 0} or facts.st_mode & 0o022:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None


def default_bind(environ: Mapping[str, str] = os.environ, *, taken: bool = False) -> UnixAddress:
    """Where a daemon listens when its config names no admin address; `taken`: another one serves at that path."""
    for folder in socket_folders(environ):
        usable = maybe_private_folder(folder)
        if usable is not None:
            return UnixAddress(str(usable / (f"admin-{os.getpid()}.sock" if taken else SOCKET_NAME)))
    raise AddressError("no folder can hold the admin socket; name one: `admin: {bind: [unix:/path/to.sock]}`")


def default_target(environ: Mapping[str, str] = os.environ) -> UnixAddress:
    """Where the command line looks for a daemon: the first socket that exists, else the best default path, for a message to name."""
    for folder in socket_folders(environ):
        if os.path.exists(folder / SOCKET_NAME):     # False, not an error, where we may not look
            return UnixAddress(str(folder / SOCKET_NAME))
    return UnixAddress(str(socket_folders(environ)[0] / SOCKET_NAME))


def others_beside(target: AdminAddress) -> list[UnixAddress]:
    """Sockets of further daemons in the same folder. They are told, never guessed: a second `proxyd stop` must not stop another daemon."""
    if not isinstance(target, UnixAddress):
        return []
    try:
        return [UnixAddress(str(path)) for path in sorted(Path(target.path).parent.glob("admin-*.sock")) if path.is_socket()]
    except OSError:
        return []
