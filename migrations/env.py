"""Alembic runs this file for every command; the connection comes from migrations.upgrade."""

from __future__ import annotations

from alembic import context

from storage.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    # SQLite cannot alter most things in place; batch mode copies the table.
    render_as_batch=True,
)
context.run_migrations()
