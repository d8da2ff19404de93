"""Train many models of one case: cached in a store, optionally vectorised over models, with time estimates."""
