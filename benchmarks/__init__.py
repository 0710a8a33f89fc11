"""Measurements against peers. Each folder is a question, and `python -m benchmarks.FOLDER` answers it."""
