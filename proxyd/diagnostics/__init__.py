"""From a YAML text with positions to findings with carets. Nothing here knows what the text configures."""

from proxyd.diagnostics.diagnostic import Diagnostic, Severity, Source, Span, by_position
from proxyd.diagnostics.render import render, render_all, render_json, summary

__all__ = ["Diagnostic", "Severity", "Source", "Span", "by_position", "render", "render_all", "render_json", "summary"]
