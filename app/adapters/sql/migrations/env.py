"""Run by Alembic: migrates over the connection that it is given, in that connection's transaction."""

from alembic import context

from app.adapters.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
