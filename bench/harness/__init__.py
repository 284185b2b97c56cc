"""What `bench/run.py` is made of. README.md in the folder above tells the method."""
