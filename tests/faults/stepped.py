"""The service with a wall clock that a scenario can set: `python -m tests.faults.stepped --port N`.

The clock reads its offset, in seconds, from the file that CLOCK_FILE names.
"""

import asyncio
import os
import time
from argparse import ArgumentParser
from pathlib import Path

from app.bootstrap import Clocks, assemble
from app.observability.logs import configure_logging
from app.settings import load_settings
from app.web.app import create_app
from tests.support.serve import serve

CLOCK_FILE = Path(os.environ.get("LUMA_MCP_FAULTS_CLOCK", "/nonexistent"))


def _wall() -> float:
    try:
        return time.time() + float(CLOCK_FILE.read_text() or 0)
    except OSError:
        return time.time()


def main() -> None:
    """Serve until ended."""
    parser = ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    clocks = Clocks(wall=_wall, monotonic=time.monotonic, sleep=asyncio.sleep)
    serve(create_app(settings, assemble(settings, base_url="", clocks=clocks)), parser.parse_args().port)


if __name__ == "__main__":
    main()
