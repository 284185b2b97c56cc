"""`proxyd schema`: the JSON Schemas of the config, for editors, and of access records, for their readers."""
from __future__ import annotations

import click

from proxyd.admin.configs import json_schema
from proxyd.cli.output import print_json
from proxyd.cli.settings import common
from proxyd.schemas import access_record


@click.command("schema", short_help="the JSON Schema of the config, for editors")
@click.option("--log", "of_log", is_flag=True, help="The schema of access records in the format json instead.")
@common
def command(of_log: bool) -> None:
    """The JSON Schema of the config, for editors.

    \b
        proxyd schema > proxyd.schema.json
        # yaml-language-server: $schema=proxyd.schema.json      (first line of the config)
        proxyd schema --log                                     what a line of the access log holds
    """
    print_json(access_record() if of_log else json_schema())
