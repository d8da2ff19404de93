"""The training loop, its settings, devices and random state."""
