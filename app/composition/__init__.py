"""The composition root: builds the parts of a process from settings, and chooses their concrete classes.

`app/persistence.py` does the same for the parts on the database.
"""

from app.composition.application import Assembly, assemble
from app.composition.backend import SANDBOX_MEDIA_PATH, VERSION
from app.composition.clocks import Clocks
from app.composition.mcp_server import build_mcp_server
from app.composition.quotas import SHARE_OF_UNACCEPTED
from app.composition.services import CALLBACKS_PATH

__all__ = [
    "CALLBACKS_PATH",
    "SANDBOX_MEDIA_PATH",
    "SHARE_OF_UNACCEPTED",
    "VERSION",
    "Assembly",
    "Clocks",
    "assemble",
    "build_mcp_server",
]
