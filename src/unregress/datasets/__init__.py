"""Readers of public datasets; import each from its own module, since their dependencies differ."""
