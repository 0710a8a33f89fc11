"""Benchmarks against other libraries, run by `python -m benchmarks.FOLDER`."""
