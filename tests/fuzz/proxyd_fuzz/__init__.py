"""The fuzz targets: one module a parser, each a C function `one_input` in a capsule; main.c calls it, run.py runs them all."""
