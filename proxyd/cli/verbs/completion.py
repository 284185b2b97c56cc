"""`proxyd completion`: what makes a shell complete our commands. All of it is click's; a shell asks the program itself at each TAB."""
from __future__ import annotations

from typing import Any

import click
from click.shell_completion import BashComplete, ShellComplete, get_completion_class

from proxyd.cli.settings import common

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_PROXYD_COMPLETE"      # click derives it from the program's name


class _Bash(BashComplete):
    @staticmethod
    def _check_version() -> None:
        """Left out: it would start a bash to ask for its age (4.4 is of 2016), also where the script is only written to a file."""


@click.command("completion", short_help="a script for the shell: bash, zsh, fish")
@common
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script that makes a shell complete proxyd's commands and options.

    \b
        bash:  echo 'source <(proxyd completion bash)' >> ~/.bashrc
        zsh:   echo 'source <(proxyd completion zsh)' >> ~/.zshrc
        fish:  proxyd completion fish > ~/.config/fish/completions/proxyd.fish
    """
    from proxyd.cli.entry import root

    kinds: dict[str, Any] = {"bash": _Bash}
    kind: type[ShellComplete] | None = kinds.get(shell) or get_completion_class(shell)
    assert kind is not None
    print(kind(root, {}, "proxyd", VARIABLE).source())
