"""Model architectures.  Import each from its own module, since each needs other packages."""
