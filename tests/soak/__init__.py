"""A soak test: many faults in a row under load, with checks of every call and of resource growth."""
