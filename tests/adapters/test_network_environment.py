"""The way to the backend, as the environment describes it."""

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
def test_proxy_for_reads_the_environment_as_other_programs_do(environment: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(URL, environment) == proxy


@pytest.mark.parametrize("exempt", ["127.0.0.0/8", "127.0.0.1", "localhost,127.0.0.1"])
def test_proxy_for_exempts_addresses_and_networks(exempt: str) -> None:
    assert proxy_for("http://127.0.0.1:8000", {"HTTP_PROXY": "http://p:1", "NO_PROXY": exempt}) is None
    assert proxy_for("http://[::1]:8000", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "[::1]"}) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "[::1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_proxy_leads_to_this_machine(scheme: str, host: str) -> None:
    """Plain http is allowed to loopback because it leaves no machine; through a proxy the tokens would."""
    proxies = {"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://p:1", "ALL_PROXY": "http://p:1"}
    assert proxy_for(f"{scheme}://{host}:8000", proxies) is None


@pytest.mark.parametrize("value", ["socks5://user:secret@p:1", "http://p:secret", "http:// secret", "ftp://secret"])
def test_a_refusal_names_the_variable_and_no_value(value: str) -> None:
    with pytest.raises(EnvironmentFault, match="HTTPS_PROXY") as refused:
        proxy_for(URL, {"HTTPS_PROXY": value})
    assert "secret" not in str(refused.value)
