"""Files and streams of lines: `own.py` (what proxyd tells about itself), `access.py` (where access records go), `rotation.py`."""
