"""The HTTP client of Java, as its SDKs of MCP use it: it offers h2c with every request."""

from pathlib import Path

from tests.clients.agent import count_submissions
from tests.clients.world import NotHere, World, system_program

SOURCE = Path(__file__).with_name("McpCall.java")


def run(world: World) -> None:
    program = system_program("java")
    modules = world.run(program, "--list-modules").out
    if "jdk.compiler" not in modules or "java.net.http" not in modules:
        raise NotHere("the java on PATH has no compiler: a JDK of 17 or newer is needed")
    finished = world.run(program, SOURCE, world.mcp_url, world.authorization)
    answers = finished.out.splitlines()
    well = [line for line in answers if line.startswith("200 HTTP_1_1 ") and '"pending"' in line]
    finished.expect(len(well) == 3, f"{len(well)} of 3 calls were answered")
    bought = count_submissions(world)
    finished.expect(bought == 3, f"{bought} videos were bought instead of 3")
