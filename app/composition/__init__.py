"""The composition root: builds the parts of a process from settings, and chooses their concrete classes.

`app/persistence.py` does the same for the parts that use the database. This package imports none of its modules, so
that a command loads only those that it needs.
"""
