"""Atomic writing of files and folders, and JSON parsed into dataclasses."""
