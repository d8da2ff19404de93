"""Model architectures.  Import each from its own module, since they need different packages."""
