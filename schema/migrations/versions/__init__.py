"""Alembic migrations of the catalog, in order; they run at `init` and `migrate`."""
