"""Measures of a model or a running server on retrieval, similarity and classification data."""
