"""Packages without their `__init__` modules: what is not loaded, and that every name can be used nevertheless."""

import subprocess
import sys

import pytest

UNUSED = ("mcp.client", "mcp.server.mcpserver", "httpx2", "sqlalchemy.orm", "redis.cluster", "redis.asyncio.cluster")


def output_of(program: str) -> list[str]:
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return run.stdout.split()


def test_the_service_does_not_load_what_it_does_not_use() -> None:
    assert output_of(f"import sys, app.cli.serve; print(*(sys.modules.keys() & {set(UNUSED)}))") == []


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("from mcp import ClientSession as found", "ClientSession"),
        ("import mcp; found = mcp.ClientSession", "ClientSession"),
        ("import mcp; found = mcp.types.Tool", "Tool"),
        ("from mcp import types; found = types", "mcp.types"),
        ("from mcp.server import MCPServer as found", "MCPServer"),
        ("import mcp.server; found = mcp.server.lowlevel.Server", "Server"),
        ("from sqlalchemy.ext.asyncio import AsyncSession as found", "AsyncSession"),
        ("from redis.asyncio import RedisCluster as found", "RedisCluster"),
        ("import redis; found = redis.Redis", "Redis"),
        ("from mcp import *; found = ClientSession", "ClientSession"),
    ],
)
def test_a_name_of_a_deferred_package_can_be_used(statement: str, name: str) -> None:
    program = f"import app.adapters.redis, app.adapters.sql, app.mcp_server; {statement}; print(found.__name__)"
    assert output_of(program) == [name]


def test_a_name_that_a_deferred_package_does_not_have_is_an_attribute_error() -> None:
    program = "import app.mcp_server, mcp; print(hasattr(mcp, 'Nothing'), hasattr(mcp, 'ClientSession'))"
    assert output_of(program) == ["False", "True"]


def test_a_package_that_is_loaded_stays_as_it_is() -> None:
    program = "import mcp, sys; import app.mcp_server; print(sys.modules['mcp'] is mcp, 'ClientSession' in dir(mcp))"
    assert output_of(program) == ["True", "True"]
