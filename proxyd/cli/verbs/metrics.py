"""`proxyd metrics`: the Prometheus page of the running daemon, and what the metrics mean."""
from __future__ import annotations

from dataclasses import asdict

import click

from proxyd.cli.output import print_json
from proxyd.cli.settings import Settings, common, pass_settings


@click.command("metrics", short_help="the Prometheus metrics of the running daemon, and what they mean")
@common
@click.option("--docs", is_flag=True, help="Every metric with its type, labels and meaning, without a daemon.")
@pass_settings
def command(settings: Settings, docs: bool) -> None:
    """The Prometheus metrics of the running daemon, and what they mean.

    \b
        proxyd metrics | grep server_up
        proxyd metrics --docs
    """
    if docs:
        print_docs(as_json=settings.json)
    elif settings.json:
        raise click.UsageError("the page is text; --json goes with --docs")
    else:
        print(settings.client().send("GET", "/metrics").body.decode(), end="")


def print_docs(*, as_json: bool) -> None:
    from proxyd.metrics.docs import metric_docs  # here: who asks a daemon does not load the collector

    found = metric_docs()
    if as_json:
        print_json([asdict(metric) for metric in found])
        return
    for metric in found:
        labels = f"{{{', '.join(metric.labels)}}}" if metric.labels else ""
        print(f"{metric.name}{labels}  {metric.type}\n    {metric.help}")
