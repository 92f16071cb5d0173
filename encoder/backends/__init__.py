"""Arithmetic behind the engine: one file a backend, all with the same port."""
