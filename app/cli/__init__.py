"""The command line: one module for each command."""

from app.cli.main import main

__all__ = ["main"]
