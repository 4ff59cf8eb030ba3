"""The database: SQLite for one host, PostgreSQL for several."""
