"""Measurements that can be repeated: run from the repository root as `python -m bench.NAME`."""
