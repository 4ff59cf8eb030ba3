"""`luma-mcp teams|credentials|members|keys|budgets|limits|usage|audit`: one module for each noun.

They are loaded for every command line, so they import no database and no
cryptography; `opening` does, once a command runs.
"""
