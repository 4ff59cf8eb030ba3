"""An adjustable wall clock for any Python program that is started with this folder on PYTHONPATH.

`time.time` is replaced: it adds an offset in seconds, the double in the first eight bytes of the file FAULTS_CLOCK.
"""

import mmap
import os
import struct
import time
from pathlib import Path

_real_time = time.time


def _install(clock: Path) -> None:
    with clock.open("rb") as file:
        offset = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    time.time = lambda: _real_time() + struct.unpack_from("d", offset)[0]


if "FAULTS_CLOCK" in os.environ:
    _install(Path(os.environ["FAULTS_CLOCK"]))
