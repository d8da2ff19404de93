"""Run folders: weights, request, provenance and a manifest of digests, written whole or not at all."""
