"""Alembic's migrations, each from one revision of the schema to the next."""
