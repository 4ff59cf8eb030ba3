"""The database, through SQLAlchemy Core.

`sqlalchemy.ext.asyncio` imports the ORM for its sessions. Nothing here uses the ORM, and it takes 8 MB of each process.
Therefore the package is created here without running its `__init__`, with only the names of its `engine` module.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec

PACKAGE = "sqlalchemy.ext.asyncio"


def _import_without_orm() -> None:
    spec = find_spec(PACKAGE)
    if spec is None or PACKAGE in sys.modules:
        return
    package = sys.modules[PACKAGE] = module_from_spec(spec)
    engine = import_module(f"{PACKAGE}.engine")
    for name in ("AsyncConnection", "AsyncEngine", "AsyncTransaction", "create_async_engine"):
        setattr(package, name, getattr(engine, name))


_import_without_orm()
