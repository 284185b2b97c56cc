"""What is doubtful about `admin`: passwords that stand in the file, or go over the network for all to read."""

from __future__ import annotations

from collections.abc import Iterator

from proxyd.config.address import BindAddress
from proxyd.config.auth_keys import WrittenSecret
from proxyd.config.doubt import Doubt
from proxyd.config.model import Config


def admin_doubts(config: Config) -> Iterator[Doubt]:
    admin = config.admin
    for index, bind in enumerate(admin.bind):
        if isinstance(bind, BindAddress) and not bind.is_loopback:
            message = f"passwords and sessions go to `{bind}` in the clear: the admin API does not speak TLS"
            help = f"bind `127.0.0.1:{bind.port}` and reach it through ssh, or through a proxy that speaks TLS"
            yield Doubt("PXD-140", message, ("admin", "bind", index), help)
    for name, user in admin.users.items():
        if isinstance(user.password, WrittenSecret):
            help = "write `${file:/run/secrets/…}` or `${env:NAME}`, or its hash (`htpasswd -nB NAME`)"
            yield Doubt("PXD-113", f"the password of `{name}` stands in the file", ("admin", "users", name, "password"), help)
    if admin.users and all(bind == "auto" or bind.is_unix for bind in admin.bind):
        message = "`users` has no effect: unix sockets know who asks without them"
        yield Doubt("PXD-106", message, ("admin", "users"), "add an address to `bind`, like `127.0.0.1:2080`")
