"""The config language: `load(path)` and `load_text(text)` give a `LoadResult`; its `config` is a `proxyd.config.model.Config`."""

from proxyd.config.load import LoadResult, load, load_text
from proxyd.config.model import Config

__all__ = ["Config", "LoadResult", "load", "load_text"]
