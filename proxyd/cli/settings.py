"""The global options, which stand before or after the verb, and what follows from them: which config, which daemon."""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from proxyd.cli.errors import CliError, Exit

if TYPE_CHECKING:
    from proxyd.admin.client import Client

CONFIG_PLACES = ("./proxyd.yaml", "/etc/proxyd/proxyd.yaml")

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(slots=True)
class Settings:
    config: str = ""
    admin: str = ""
    json: bool = False
    quiet: bool = False
    verbose: int = 0

    def maybe_config_path(self) -> Path | None:
        """The config file that is meant: -c, $PROXYD_CONFIG, ./proxyd.yaml, /etc/proxyd/proxyd.yaml. A named one need not exist."""
        named = self.config or os.environ.get("PROXYD_CONFIG", "")
        if named:
            return Path(named)
        return next((Path(place) for place in CONFIG_PLACES if Path(place).is_file()), None)

    def lacks_config(self) -> bool:
        """Whether -c names a file that is not there, and nothing else says where the daemon is."""
        return bool(self.config) and not self.admin and not os.environ.get("PROXYD_ADMIN") and not Path(self.config).exists()

    def config_path(self) -> Path:
        """The same. Raises CliError when there is none to mean."""
        path = self.maybe_config_path()
        if path is None:
            raise CliError(
                f"no config found; looked for $PROXYD_CONFIG, {' and '.join(CONFIG_PLACES)}",
                Exit.CONFIG_INVALID,
                code="PXD-001",
                hint="name one with -c FILE, or serve without one: proxyd proxy :8080 HOST:PORT",
            )
        return path

    def client(self, timeout_s: float = 10.0) -> Client:
        """A client of the daemon that is meant: --admin, $PROXYD_ADMIN, `admin.bind` of the config, the default socket.

        Over TCP it is the user of that address, else $PROXYD_ADMIN_USER; a password that is not in it is $PROXYD_ADMIN_PASSWORD.
        """
        from proxyd.admin.address import AddressError, default_target, parse_address, with_credentials
        from proxyd.admin.client import Client

        named = self.admin or os.environ.get("PROXYD_ADMIN", "") or self._maybe_admin_of_config()
        try:
            address = parse_address(named) if named else default_target()
        except AddressError as error:
            raise CliError(str(error), Exit.USAGE) from error
        return Client(with_credentials(address), timeout_s)

    def _maybe_admin_of_config(self) -> str:
        path = self.maybe_config_path()
        if path is None:
            return ""
        from proxyd.cli.locate import maybe_admin_address

        return maybe_admin_address(path)


def settings_of(ctx: click.Context) -> Settings:
    return ctx.find_root().ensure_object(Settings)


def _keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value and parameter.name:
        setattr(settings_of(ctx), parameter.name, value)


class CommonOption(click.Option):
    """One that every command has."""


def own_first(command: click.Command) -> None:
    """Have the help of a command, and of those below it, begin with what is its own: the common ones are known, and many lines."""
    command.params.sort(key=lambda parameter: isinstance(parameter, CommonOption))
    for one in command.commands.values() if isinstance(command, click.Group) else ():
        own_first(one)


def common(function: Function) -> Function:
    """Give a command the global options. They are kept in the `Settings` of the root, so that both places of a line mean the same."""
    options = (
        click.option("-c", "--config", metavar="FILE", type=click.Path(), cls=CommonOption, expose_value=False, callback=_keep,
                     help="The config. [default: $PROXYD_CONFIG, ./proxyd.yaml, /etc/proxyd/proxyd.yaml]"),
        click.option("--admin", metavar="unix:PATH|[USER@]HOST:PORT", cls=CommonOption, expose_value=False, callback=_keep,
                     help="The daemon's admin address. [default: $PROXYD_ADMIN, the config's, the default socket]"),
        click.option("--json", is_flag=True, cls=CommonOption, expose_value=False, callback=_keep, help="Answer in JSON."),
        click.option("-q", "--quiet", is_flag=True, cls=CommonOption, expose_value=False, callback=_keep, help="Say only what is wrong."),
        click.option("-v", "--verbose", count=True, cls=CommonOption, expose_value=False, callback=_keep, help="Say more."),
    )
    for option in reversed(options):
        function = option(function)
    return function


pass_settings = click.make_pass_decorator(Settings, ensure=True)
