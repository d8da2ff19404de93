"""Sentence pairs: STS-B, with GloVe's word vectors."""
