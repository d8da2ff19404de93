"""The paper's experiments: declared in YAML, run with cached trainings, and reported beside the published numbers."""
