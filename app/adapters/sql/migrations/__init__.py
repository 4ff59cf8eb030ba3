"""What Alembic runs to bring a database from one release's schema to the next one's."""
