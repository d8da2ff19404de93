"""Forward hooks: activations, attention transfer, and the input of the final linear layer."""
