"""curl, also with `--http2`: it offers HTTP/2 by an upgrade of the first request, which is not taken."""

import json

from tests.clients.agent import count_submissions
from tests.clients.world import World, system_program

CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "luma_generate_video", "arguments": {"prompt": "A red fox"}},
}


def run(world: World) -> None:
    program = system_program("curl")
    for number, option in enumerate(("--http1.1", "--http2"), 1):
        headers = ("-H", f"Authorization: {world.authorization}", "-H", "Content-Type: application/json")
        finished = world.run(program, "-sS", option, world.mcp_url, *headers, "-d", json.dumps(CALL))
        finished.expect('"pending"' in finished.out, f"{option}: no task was started")
        bought = count_submissions(world)
        finished.expect(bought == number, f"{option}: {bought} videos were bought instead of {number}")
