"""Convolution benchmarks: every direction, library and method."""
