"""Many trained models of one case: made, kept in a store, trained as a stack, and their time estimated."""
