"""The version of this program, and the description of the backend that the settings choose."""

from importlib.metadata import version

from app.adapters.acedata.policy import describe
from app.domain.backend import BackendDescription
from app.settings import Settings

VERSION = version("luma-mcp")


def backend_description(settings: Settings) -> BackendDescription:
    """Return the name, capabilities and policy of the backend that `settings` choose.

    The sandbox has the description of AceDataCloud, with the address None and its own duration.
    """
    if settings.backend == "sandbox":
        return describe(expected_seconds=settings.sandbox_seconds)
    return describe(address=settings.acedata_url)
