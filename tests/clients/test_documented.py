"""The set-ups of docs/clients.md that `make clients` runs."""

import json
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.clients.documented import TOKEN, URL, set_up


@pytest.mark.parametrize(
    ("heading", "language", "read"),
    [
        ("Codex", "toml", tomllib.loads),
        ("Copilot CLI", "json", json.loads),
        ("opencode", "json", json.loads),
        ("Cline", "json", json.loads),
        ("Continue", "yaml", yaml.safe_load),
    ],
)
def test_a_set_up_is_valid_and_names_one_server_with_url_and_token(
    heading: str, language: str, read: Callable[[str], Any]
) -> None:
    written = read(set_up(heading, language))
    ((_, servers),) = written.items()
    (server,) = servers.values() if isinstance(servers, dict) else servers
    assert server["url"] == URL
    assert f"Bearer {TOKEN}" in str(server) or server["bearer_token_env_var"] == "LUMA_TOKEN"


def test_a_set_up_that_is_not_there_is_named() -> None:
    with pytest.raises(LookupError, match="Codex"):
        set_up("Codex", "yaml")
