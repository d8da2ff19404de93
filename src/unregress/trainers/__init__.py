"""Training functions that train with other libraries: Lightning, Hugging Face transformers, skorch.

Each imports its library when it is called.
"""
