"""The proxy and certificates that the environment names."""

import pytest

from app.adapters.network_environment import EnvironmentFault, proxy_for

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
