"""Ready models.  Import the one you need from its own module, since each has needs of its own."""
