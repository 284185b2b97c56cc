"""Spans of traced requests, exported by OTLP/HTTP."""
