"""Alembic's entry point. Runs migrations on the given connection, in its transaction."""

from alembic import context

from app.adapters.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
