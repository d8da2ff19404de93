"""Independent jobs side by side, in processes or on a cluster."""
