"""Task adapters and per-sample losses: build a user's model, predict, find the target, compute the loss."""
