"""Long polling: one process polls the backend for each tenant, and all waiting calls share its reads."""
