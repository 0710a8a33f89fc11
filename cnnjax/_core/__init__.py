"""Argument checks shared by all public functions: messages, arrays, shapes and windows."""
