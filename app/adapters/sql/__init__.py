"""The database, through SQLAlchemy Core. Modules import from `sqlalchemy.ext.asyncio.engine`: see deferred_packages."""

from app.deferred_packages import defer

defer("sqlalchemy.ext.asyncio")
