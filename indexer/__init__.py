"""Texts to passages, and passages to an index that follows the database."""
