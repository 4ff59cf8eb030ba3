"""What settings may look like, and the sentence for each value that can never work."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.adapters.sql.engine import Database
from app.settings import SettingsError, load_settings
from app.web.middleware.trusted_host import AllowList
from tests.support.process import environment, run, serving_process
from tests.support.redis_server import free_port
from tests.support.service import KEY, settings


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("public_url", "https://luma.example.com/mcp", "https://luma.example.com"),
        ("public_url", "https://luma.example.com/mcp/", "https://luma.example.com"),
        ("public_url", "https://luma.example.com:443/", "https://luma.example.com"),
        ("public_url", "https://luma.example.com:8443", "https://luma.example.com:8443"),
        ("public_url", "https://host.example.com/luma/mcp", "https://host.example.com/luma"),
        ("public_url", "http://[::1]:8000/mcp", "http://[::1]:8000"),
        ("public_url", "https://Bücher.Example.com/mcp", "https://xn--bcher-kva.example.com"),
        ("acedata_url", "https://bücher.example.com/v1", "https://xn--bcher-kva.example.com/v1"),
        ("allowed_hosts", '["a.example.com", "b.example.com:*"]', ("a.example.com", "b.example.com:*")),
        ("allowed_hosts", "a.example.com, [2001:db8::1]:*", ("a.example.com", "[2001:db8::1]:*")),
        ("allowed_hosts", "[::1]", ("[::1]",)),
        ("trusted_proxies", "10.1.2.3/8,::1", ("10.0.0.0/8", "::1/128")),
        ("trusted_proxies", "*", ("*",)),
        ("allowed_origins", '["https://app.example.com"]', ("https://app.example.com",)),
        ("jwt_issuer", "https://tenant.eu.auth0.com/", "https://tenant.eu.auth0.com/"),
        ("jwt_audience", "api://luma, https://luma.example.com/mcp", ("api://luma", "https://luma.example.com/mcp")),
    ],
)
def test_a_setting_is_normalised(name: str, value: str, meant: object) -> None:
    assert getattr(settings(**{name: value}), name) == meant


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("public_url", "http://luma.example.com", "must begin with https://"),
        ("public_url", "https://user:word@luma.example.com", "user name or password"),
        ("public_url", "https://luma.example.com:99999", "is not a URL"),
        ("public_url", "https://luma.example.com?x=1", "must end with its path"),
        ("public_url", "luma.example.com", "must be an http or https URL"),
        ("public_url", "https://straße.example.com", "must name its host in ASCII"),
        ("public_url", f"https://{'ü' * 70}.example.com", "must name its host in ASCII"),
        ("allowed_hosts", "https://luma.example.com", "without https://"),
        ("allowed_hosts", "*.example.com", "not for a part of a name"),
        ("allowed_hosts", '["a"', "JSON list"),
        ("allowed_origins", "app.example.com", "must list origins"),
        ("allowed_origins", "https://app.example.com/path", "must list origins"),
        ("trusted_proxies", "10.0.0.0/33", "IP addresses or networks"),
        ("refused_tokens_per_minute", "0", "greater than or equal to 1"),
        ("trusted_proxies", "proxy", "IP addresses or networks"),
        ("idempotency_seconds", "3600", "greater than or equal to 86400"),
        ("result_ttl_seconds", "inf", "finite number"),
        ("result_ttl_seconds", "1e300", "less than or equal"),
        ("result_ttl_seconds", "nan", "finite number"),
        ("secret_key", "replace-me-with-at-least-32-random-bytes", "is an example"),
        ("secret_key", "a" * 64, "too little variety"),
        ("secret_key", "abab" * 16, "too little variety"),
        ("auth", "passthrough,jot", "authentication methods"),
        ("auth", ",", "authentication methods"),
        ("jwt_issuer", "http://login.example.com", "must begin with https://"),
        ("jwt_issuer", "login.example.com", "must be an http or https URL"),
        ("jwt_audience", "two words", "without blanks"),
        ("jwt_read_scope", 'a"b', "without blanks"),
        ("jwt_team_claim", "", "visible ASCII"),
        ("secret_key", "short", "at least 32 bytes"),
        ("secret_key", f"{KEY},short", "commas separate them"),
    ],
)
def test_a_setting_that_can_never_work_is_refused_with_a_sentence(name: str, value: str, sentence: str) -> None:
    values = {"secret_key": KEY, name: value}
    with pytest.raises(ValidationError, match=sentence):
        settings_from(values)


def test_purchase_days_must_cover_the_validity_of_a_key() -> None:
    values = {"secret_key": KEY, "idempotency_seconds": "172801"}
    assert settings_from({**values, "purchase_days": "3"})
    with pytest.raises(ValidationError, match="LUMA_MCP_IDEMPOTENCY_SECONDS"):
        settings_from({**values, "purchase_days": "2"})


def settings_from(values: dict[str, str]) -> object:
    from app.settings import Settings  # noqa: PLC0415 - beside the helper of the same name

    return Settings(_env_file=None, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1", "[::1]:9", "luma.example.com"])
def test_allowed_hosts_are_answered_beside_those_of_this_machine(host: str) -> None:
    assert AllowList(settings(allowed_hosts="luma.example.com").hosts()).allows(host)


@pytest.mark.parametrize("origin", ["http://localhost", "http://localhost:6274", "http://[::1]:1"])
def test_pages_of_this_machine_are_answered_with_any_port_or_none(origin: str) -> None:
    assert AllowList(settings().origins()).allows(origin)


BACKEND = {"acedata_url": "https://api.acedata.cloud"}
IN_A_FILE = {"LUMA_MCP_DATABASE_URL": "sqlite:///luma.db"}
FAULTS = [
    ({"ALL_PROXY": "socks5://127.0.0.1:1"}, "ALL_PROXY names a socks5 proxy"),
    ({"HTTPS_PROXY": "http://proxy .example.com:3128"}, "HTTPS_PROXY is not the URL of a proxy"),
    ({"HTTPS_PROXY": "http://proxy:port"}, "HTTPS_PROXY is not the URL of a proxy"),
    ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE names no readable file"),
    ({"SSL_CERT_FILE": __file__}, "SSL_CERT_FILE names no readable file of certificates"),
    ({"PROMETHEUS_MULTIPROC_DIR": "/nowhere/metrics"}, "PROMETHEUS_MULTIPROC_DIR names no folder"),
    ({"LUMA_MCP_METRICS": "70000"}, "LUMA_MCP_METRICS must be on, off, or a port number from 1 to 65535."),
    ({"LUMA_MCP_METRICS": "abc"}, "LUMA_MCP_METRICS must be on, off, or a port number"),
    ({"LUMA_MCP_ADMIN": "0"}, "LUMA_MCP_ADMIN must be on, off, or a port number"),
    ({"LUMA_MCP_PUBLIC_URL": "luma"}, "LUMA_MCP_PUBLIC_URL must be"),
    ({"LUMA_MCP_AUTH": "keys", "LUMA_MCP_BACKEND": "sandbox"}, "LUMA_MCP_AUTH names keys"),
    ({"LUMA_MCP_AUTH": "jwt", "LUMA_MCP_BACKEND": "sandbox"}, "LUMA_MCP_AUTH names jwt"),
    ({"LUMA_MCP_AUTH": "jwt", **IN_A_FILE}, "set LUMA_MCP_JWT_ISSUER"),
    ({"LUMA_MCP_AUTH": "jwt", "LUMA_MCP_JWT_ISSUER": "https://id.example.com", **IN_A_FILE}, "set LUMA_MCP_PUBLIC_URL"),
    ({"LUMA_MCP_REDIS_URL": "redis+cluster://127.0.0.1:1/1", "LUMA_MCP_SECRET_KEY": KEY}, "LUMA_MCP_REDIS_URL"),
]


@pytest.mark.parametrize(("given", "sentence"), FAULTS, ids=[sentence for _, sentence in FAULTS])
def test_an_environment_that_cannot_work_ends_with_a_sentence_and_2(
    tmp_path: Path, given: dict[str, str], sentence: str
) -> None:
    ended = run("serve", "--port", "0", cwd=tmp_path, env=environment(**BACKEND) | given)
    assert ended.returncode == 2, ended.stderr
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("port", ["70000", "-1", "abc", "80.5", ""])
def test_a_port_that_cannot_be_is_refused_with_its_range(tmp_path: Path, port: str) -> None:
    ended = run("serve", "--sandbox", f"--port={port}", cwd=tmp_path, env=environment())
    assert ended.returncode == 2
    assert "--port: must be a whole number from 0 to 65535" in ended.stderr
    assert "Traceback" not in ended.stderr


METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@pytest.mark.parametrize("is_set", [True, False], ids=["a folder", "empty"])
def test_check_writes_no_metrics(tmp_path: Path, *, is_set: bool) -> None:
    given = {METRICS_FOLDER: str(tmp_path) if is_set else ""}
    ended = run("check", cwd=tmp_path, env=environment(backend="sandbox") | given)
    assert ended.returncode == 0, ended.stderr
    assert not list(tmp_path.glob("*.db"))


def test_check_names_a_metrics_folder_that_is_missing(tmp_path: Path) -> None:
    given = {METRICS_FOLDER: str(tmp_path / "missing")}
    ended = run("check", cwd=tmp_path, env=environment(backend="sandbox") | given)
    assert ended.returncode == 2
    assert f"{METRICS_FOLDER} names no folder" in ended.stderr


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_settings_file_in_another_encoding_is_named(
    tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("LUMA_MCP_LOG_LEVEL=INFO # für alle\n", encoding=encoding)
    with pytest.raises(SettingsError, match="no text in UTF-8"):
        load_settings(".env")


def test_a_taken_port_ends_with_a_sentence_and_2(tmp_path: Path) -> None:
    with serving_process("--sandbox", cwd=tmp_path, env=environment()) as running:
        taken = running.url.rpartition(":")[2]
        ended = run("serve", "--sandbox", "--port", taken, cwd=tmp_path, env=environment())
        metrics = run("serve", "--sandbox", "--port", "0", cwd=tmp_path, env=environment(metrics=taken))
    assert (ended.returncode, metrics.returncode) == (2, 2)
    assert f"Cannot listen on 127.0.0.1:{taken}" in ended.stderr
    assert f"Cannot listen on 127.0.0.1:{taken}" in metrics.stderr
    assert "choose another LUMA_MCP_METRICS" in metrics.stderr
    assert "Traceback" not in ended.stderr + metrics.stderr


@pytest.mark.parametrize(
    "ordinary",
    [
        {"NO_PROXY": "localhost,[::1],fe80::/10,10.0.0.0/8,*.internal"},
        {"no_proxy": "*", "ALL_PROXY": "socks5://127.0.0.1:1"},
        {"HTTPS_PROXY": "127.0.0.1:3128"},
        {METRICS_FOLDER: ""},
    ],
    ids=["IPv6 in NO_PROXY", "exempt from SOCKS", "a proxy without a scheme", "no folder of metrics"],
)
def test_an_ordinary_environment_serves(tmp_path: Path, ordinary: dict[str, str]) -> None:
    with serving_process(cwd=tmp_path, env=environment(**BACKEND) | ordinary) as server:
        assert server.url
    assert not list(tmp_path.glob("*.db"))


def test_a_misspelt_setting_is_named_when_the_service_starts(tmp_path: Path) -> None:
    env = environment(log_levle="DEBUG", metrics=str(free_port()))
    with serving_process("--sandbox", cwd=tmp_path, env=env) as server:
        assert server.url
        server.process.terminate()
        assert "LUMA_MCP_LOG_LEVLE is not a setting" in server.log()


@pytest.mark.parametrize(
    ("value", "keys"),
    [(f"{KEY}, {KEY[::-1]},", [KEY, KEY[::-1]]), (f'["{KEY}, and more"]', [f"{KEY}, and more"]), ("", [])],
)
def test_secret_keys_are_listed(value: str, keys: list[str]) -> None:
    assert [key.get_secret_value() for key in settings(secret_key=value).secret_key] == keys


@pytest.mark.parametrize("name", ["plain", "a?b", "a%20b", "a#b", "ä b"])
def test_the_database_is_in_the_folder_that_is_named(tmp_path: Path, name: str) -> None:
    values = settings(database_url=None, data_dir=tmp_path / name)
    assert values.database_file() == tmp_path / name / "luma-mcp.db"
    assert Database(values.database()).place == str(tmp_path / name / "luma-mcp.db")
