"""What the library must know of a user's model: how to build it, predict, find the target and compute the loss."""
