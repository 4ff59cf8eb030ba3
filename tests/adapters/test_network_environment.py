"""The proxy and certificates that the environment names."""

import ssl

import pytest

from app.adapters.network_environment import EnvironmentFault, proxy_for, tls_context

URL = "https://api.acedata.cloud"


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ({"https_proxy": "http://small:1", "HTTPS_PROXY": "http://p:1"}, "http://small:1"),
        ({"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"HTTPS_PROXY": " p:1 "}, "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "api.acedata.cloud"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".acedata.cloud"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "acedata.cloud:443"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*.acedata.cloud"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "data.cloud,[::1],fe80::/10"}, "http://p:1"),
    ],
)
def test_proxy_for_reads_the_usual_variables(environment: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(URL, environment) == proxy


@pytest.mark.parametrize("exempt", ["127.0.0.0/8", "127.0.0.1", "localhost,127.0.0.1"])
def test_proxy_for_exempts_addresses_and_networks(exempt: str) -> None:
    assert proxy_for("http://127.0.0.1:8000", {"HTTP_PROXY": "http://p:1", "NO_PROXY": exempt}) is None
    assert proxy_for("http://[::1]:8000", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "[::1]"}) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "[::1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_loopback_hosts_are_never_reached_through_a_proxy(scheme: str, host: str) -> None:
    """Plain http is allowed for loopback only. Through a proxy, the tokens would leave the machine."""
    proxies = {"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://p:1", "ALL_PROXY": "http://p:1"}
    assert proxy_for(f"{scheme}://{host}:8000", proxies) is None


@pytest.mark.parametrize("value", ["socks5://user:secret@p:1", "http://p:secret", "http:// secret", "ftp://secret"])
def test_an_error_names_the_variable_but_not_its_value(value: str) -> None:
    with pytest.raises(EnvironmentFault, match="HTTPS_PROXY") as refused:
        proxy_for(URL, {"HTTPS_PROXY": value})
    assert "secret" not in str(refused.value)


def test_a_server_that_a_stranger_named_is_offered_one_elliptic_curve_only() -> None:
    suites, groups = offered(tls_context({}, is_for_strangers=True))
    assert groups == [0x0017], "secp256r1"
    names = [name for number, name in NAMES.items() if number in suites]
    assert names
    assert all(name.startswith(("ECDHE-", "TLS_")) for name in names), names


NAMES = {one["id"] & 0xFFFF: one["name"] for one in ssl.create_default_context().get_ciphers()}


def offered(context: ssl.SSLContext) -> tuple[list[int], list[int]]:
    """Return the cipher suites and the groups of the first message of a handshake (RFC 8446, section 4.1.2)."""
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="example.com")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    rest = outgoing.read()[5 + 4 + 2 + 32 :]  # behind both headers, the version and the random bytes
    rest = rest[1 + rest[0] :]  # the session id
    suites, rest = _split(rest)
    rest = rest[1 + rest[0] :]  # the methods of compression
    extensions, _ = _split(rest)
    while int.from_bytes(extensions[:2]) != SUPPORTED_GROUPS:
        _, extensions = _split(extensions[2:])
    groups, _ = _split(_split(extensions[2:])[0])
    return _numbers(suites), _numbers(groups)


SUPPORTED_GROUPS = 10


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Return a field that begins with its length, in two bytes, and what follows."""
    length = int.from_bytes(data[:2])
    return data[2 : 2 + length], data[2 + length :]


def _numbers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]
