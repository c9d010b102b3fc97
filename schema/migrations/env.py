"""Alembic's entry: migrates over the connection that the store hands in, never its own."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from influence_store.schema import catalog

assert catalog.REVISION  # the models must be loaded before their metadata is compared

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
