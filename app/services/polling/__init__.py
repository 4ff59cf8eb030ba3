"""Long polls: one process polls the backend for each tenant, and every waiting call shares its reads."""
