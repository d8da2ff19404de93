"""The paper's experiments: what is forgotten from which data by which model, and what was published about it."""
