"""The composition root: builds the parts of a process from settings, and chooses their concrete classes.

`app/persistence.py` does the same for the parts on the database. Importing one module loads no other: a command that
needs the price of a generation does not load the server.
"""
