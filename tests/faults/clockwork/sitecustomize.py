"""A wall clock that can be put off, for any Python program that is started with this folder on PYTHONPATH.

`time.time` reads by how many seconds it is off from the first eight bytes of the file that FAULTS_CLOCK names.
"""

import mmap
import os
import struct
import time
from pathlib import Path

_right = time.time


def _put_under(clock: Path) -> None:
    with clock.open("rb") as file:
        offset = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    time.time = lambda: _right() + struct.unpack_from("d", offset)[0]


if "FAULTS_CLOCK" in os.environ:
    _put_under(Path(os.environ["FAULTS_CLOCK"]))
