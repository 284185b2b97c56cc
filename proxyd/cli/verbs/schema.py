"""`proxyd schema`: the JSON Schema of the config, for editors."""
from __future__ import annotations

import click

from proxyd.admin.configs import json_schema
from proxyd.cli.output import print_json
from proxyd.cli.settings import common


@click.command("schema", short_help="the JSON Schema of the config, for editors")
@common
def command() -> None:
    """The JSON Schema of the config, for editors.

    \b
        proxyd schema > proxyd.schema.json
        # yaml-language-server: $schema=proxyd.schema.json      (first line of the config)
    """
    print_json(json_schema())
