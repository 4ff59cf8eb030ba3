"""Defers the `__init__` modules of packages until one of their names is used.

Some of them import far more than this service uses: the SDK's clients and high-level server, SQLAlchemy's ORM, and
redis-py's clients for a Cluster. Together that is 13 MB of each process. A program that uses a name of such a package
gets it nevertheless: its `__init__` module is loaded then.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

SDK = ("mcp", "mcp.server")


def defer(*names: str) -> None:
    """Make packages importable without their `__init__` modules, parents first. Those that are loaded stay as they are.

    Their modules must be imported by their own names: `from sqlalchemy.ext.asyncio.engine import AsyncEngine`.
    """
    for name in names:
        spec = find_spec(name) if name not in sys.modules else None
        if spec is not None:
            package = sys.modules[name] = module_from_spec(spec)
            package.__class__ = _DeferredPackage
            parent, _, own_name = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], own_name, package)


class _DeferredPackage(ModuleType):
    """A package whose `__init__` module is not loaded yet. Afterwards it is an ordinary module."""

    def __getattr__(self, name: str) -> Any:
        """Return a submodule, or load the `__init__` module and return what it has under this name.

        Python calls this method for names that the module does not have.
        """
        submodule = f"{self.__name__}.{name}"
        if find_spec(submodule) is not None:
            return import_module(submodule)
        self.__class__ = ModuleType  # type: ignore[assignment]  # mypy takes the class of a module for a constant
        loader: Any = self.__loader__
        loader.exec_module(self)
        return getattr(self, name)
