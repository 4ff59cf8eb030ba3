"""The administrative commands, such as `luma-mcp teams create`: one module for each noun.

Every command line loads them, so they import neither the database nor cryptography. `opening` imports both, and is
loaded when such a command runs.
"""
