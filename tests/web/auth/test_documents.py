"""Clients with a client ID metadata document: fetching, caching, validation, and protection of internal networks."""

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import RSAAlgorithm

from app.services.sign_in.client_auth import ASSERTION_TYPE
from app.services.sign_in.clients import OUTAGE_SECONDS
from tests.support.clock import HandClock
from tests.support.documents_server import DocumentServer, document_server
from tests.support.oauth import Browser, Client, Page, SignInFleet

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
async def documents() -> AsyncIterator[DocumentServer]:
    async with document_server() as server:
        yield server


def jwks(key: rsa.RSAPrivateKey = KEY, kid: str = "one") -> dict[str, Any]:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {"keys": [public | {"kid": kid, "use": "sig", "alg": "RS256"}]}


def with_long_exponent() -> rsa.RSAPrivateKey:
    """Return KEY with another pair of exponents, of which the public one is longer than 32 bits."""
    private = KEY.private_numbers()
    public = rsa.RSAPublicNumbers((1 << 61) - 1, private.public_numbers.n)
    d = pow(public.e, -1, (private.p - 1) * (private.q - 1))
    dmp1, dmq1 = rsa.rsa_crt_dmp1(d, private.p), rsa.rsa_crt_dmq1(d, private.q)
    return rsa.RSAPrivateNumbers(private.p, private.q, d, dmp1, dmq1, private.iqmp, public).private_key()


def unsigned(client: Client, header: str) -> str:
    """Return an assertion of the client with any header, and with a made-up signature."""
    parts = (header, json.dumps({"iss": client.client_id}), "x" * 256)
    return ".".join(urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)


def assertion(client: Client, clock: HandClock, key: Any = KEY, algorithm: str = "RS256", **changes: Any) -> str:
    """Return an assertion of the client; `changes` replace claims, and None leaves one out."""
    claims = {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": f"{client.issuer}/token",
        "exp": clock() + 60,
        "jti": str(time.perf_counter_ns()),
        **changes,
    }
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(given, key, algorithm=algorithm, headers={"kid": "one"})


async def test_a_client_is_described_by_its_metadata_document(
    fleet: SignInFleet, browser: Browser, documents: DocumentServer
) -> None:
    client = fleet.client(client_id=documents.add("/client.json", client_name="Claude Code"))
    page = await browser.open(client.url())
    assert isinstance(page, Page)
    assert "Claude Code" in page.text
    assert "127.0.0.1" in page.text
    tokens = await client.connect(browser)
    assert await fleet.status(tokens["access_token"]) == 200
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200
    assert documents.fetched == ["/client.json"], "once, as long as it is fresh"


async def test_the_port_of_this_computer_is_free_even_if_the_document_names_one(
    fleet: SignInFleet, browser: Browser, documents: DocumentServer
) -> None:
    client_id = documents.add("/client.json", redirect_uris=["http://127.0.0.1:33418/callback", "https://x.example/cb"])
    await fleet.client(client_id=client_id).connect(browser)


@pytest.mark.parametrize(
    ("control", "seconds"),
    [("", 3600), ("no-store", 300), ("max-age=1", 300), ("public, max-age=7200", 7200), ("max-age=99999999", 86_400)],
)
async def test_a_document_is_fetched_again_when_it_is_stale(
    fleet: SignInFleet, browser: Browser, documents: DocumentServer, control: str, seconds: int
) -> None:
    documents.headers = {"cache-control": control}
    client = fleet.client(client_id=documents.add("/client.json"))
    for advance, fetches in ((0, 1), (seconds - 1, 1), (1, 2)):
        fleet.clock.advance(advance)
        await browser.open(client.url())
        assert len(documents.fetched) == fetches


async def test_a_known_client_outlives_an_outage_of_its_server(
    fleet: SignInFleet, browser: Browser, documents: DocumentServer
) -> None:
    client = fleet.client(client_id=documents.add("/client.json"))
    await client.connect(browser)
    documents.status = 502
    fleet.clock.advance(7200)
    assert (await client.connect(browser))["access_token"]
    unknown = await browser.open(fleet.client(client_id=documents.add("/other.json")).url())
    assert isinstance(unknown, Page)
    assert unknown.response.status_code == 400
    documents.status = 200
    await fleet.client(client_id=documents.add("/other.json")).connect(browser)  # a failure is not remembered


async def test_a_key_that_the_document_has_withdrawn_is_refused_at_the_token_endpoint(
    fleet: SignInFleet, browser: Browser, documents: DocumentServer
) -> None:
    keys = {"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks()}
    client = fleet.client(client_id=documents.add("/client.json", **keys))
    client.extra = {"client_assertion_type": ASSERTION_TYPE}
    code = await client.code(browser)
    tokens = (await client.exchange(code, client_assertion=assertion(client, fleet.clock))).json()
    documents.add("/client.json", **keys | {"jwks": jwks(OTHER_KEY)})
    fleet.clock.advance(3601)
    for key, status in ((KEY, 401), (OTHER_KEY, 200)):
        signed = assertion(client, fleet.clock, key)
        assert (await client.refresh(tokens["refresh_token"], client_assertion=signed)).status_code == status
    assert len(documents.fetched) == 2


@pytest.mark.parametrize("status", [404, 410])
async def test_a_client_whose_document_is_gone_is_refused_until_it_is_back(
    fleet: SignInFleet, browser: Browser, documents: DocumentServer, status: int
) -> None:
    client = fleet.client(client_id=documents.add("/client.json"))
    tokens = await client.connect(browser)
    fleet.clock.advance(3601)
    for answer in (status, 502):
        documents.status = answer
        refused = await client.refresh(tokens["refresh_token"])
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    page = await browser.open(client.url())
    assert isinstance(page, Page)
    assert page.response.status_code == 400
    documents.status = 200
    assert (await client.refresh(tokens["refresh_token"])).status_code == 200


async def test_a_client_refreshes_in_an_outage_of_its_server_with_a_fetch_a_minute(
    fleet: SignInFleet, browser: Browser, documents: DocumentServer
) -> None:
    client = fleet.client(client_id=documents.add("/client.json"))
    tokens = await client.connect(browser)
    documents.status = 502
    for seconds, fetches in ((3601, 2), (1, 2), (OUTAGE_SECONDS - 2, 2), (1, 3)):
        fleet.clock.advance(seconds)
        response = await client.refresh(tokens["refresh_token"])
        assert response.status_code == 200
        tokens = response.json()
        assert len(documents.fetched) == fetches


@pytest.mark.parametrize(
    "content",
    [
        {"client_id": "https://other.example/client.json"},
        {"jwks_uri": "https://client.example.com/\x00"},
        {"jwks_uri": "https://client.example.com/\ud800"},
        {"jwks_uri": "https://client.example.com/" + "a" * 500},
        {"jwks_uri": ["https://client.example.com/keys"]},
        {"client_id": None},
        {"redirect_uris": []},
        {"redirect_uris": ["javascript:alert(1)", "http://evil.example/cb"]},
        {"redirect_uris": "http://127.0.0.1/callback"},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"token_endpoint_auth_method": {}},
        {"token_endpoint_auth_method": [], "token_endpoint_auth_methods_supported": [{}, []]},
    ],
)
async def test_a_document_that_is_not_the_clients_is_refused(
    fleet: SignInFleet, browser: Browser, documents: DocumentServer, content: dict[str, Any]
) -> None:
    shown = await browser.open(fleet.client(client_id=documents.add("/client.json", **content)).url())
    assert isinstance(shown, Page)
    assert shown.response.status_code == 400


@pytest.mark.parametrize(
    "answer",
    [
        (302, {"location": "http://127.0.0.1:1/"}, None),
        (404, {}, None),
        (200, {"content-type": "text/html"}, None),
        (200, {}, b"{" + b" " * 6_000 + b"}"),
        (200, {}, b"[]"),
        (200, {}, b"not json"),
        (200, {}, b"[" * 5_000),
        (200, {"content-encoding": "gzip"}, None),
    ],
)
async def test_an_unusable_response_instead_of_a_document_is_refused(
    fleet: SignInFleet, browser: Browser, documents: DocumentServer, answer: tuple[int, dict[str, str], bytes | None]
) -> None:
    client = fleet.client(client_id=documents.add("/client.json"))
    documents.status, documents.headers, documents.body = answer
    shown = await browser.open(client.url())
    assert isinstance(shown, Page)
    assert shown.response.status_code == 400
    assert len(documents.fetched) == 1, "no redirect was followed"


@pytest.mark.parametrize(
    "path", ["", "/", "/client.json#x", "/a/../client.json", "/a/%2e%2e/client.json", "/" + "a" * 600]
)
async def test_an_id_in_another_spelling_is_no_document(
    fleet: SignInFleet, browser: Browser, documents: DocumentServer, path: str
) -> None:
    shown = await browser.open(fleet.client(client_id=f"{documents.url}{path}").url())
    assert isinstance(shown, Page)
    assert shown.response.status_code == 400
    assert documents.fetched == []


async def test_document_fetches_are_limited_for_each_address(
    fleet: SignInFleet, browser: Browser, documents: DocumentServer
) -> None:
    for number in range(25):
        await browser.open(fleet.client(client_id=documents.add(f"/{number}.json")).url())
    assert len(documents.fetched) == 20


class TestAssertions:
    async def connected(self, fleet: SignInFleet, browser: Browser, documents: DocumentServer) -> tuple[Client, str]:
        documents.documents["/keys"] = jwks()
        client_id = documents.add(
            "/client.json", token_endpoint_auth_method="private_key_jwt", jwks_uri=f"{documents.url}/keys"
        )
        client = fleet.client(client_id=client_id, extra={"client_assertion_type": ASSERTION_TYPE})
        return client, await client.code(browser)

    async def test_a_client_signs_for_each_request(
        self, fleet: SignInFleet, browser: Browser, documents: DocumentServer
    ) -> None:
        client, code = await self.connected(fleet, browser, documents)
        signed = assertion(client, fleet.clock)
        assert (await client.exchange(code, client_assertion=signed)).status_code == 200
        again = await client.exchange(code, client_assertion=signed)
        assert again.json()["error"] == "invalid_client", "an assertion counts once"
        assert documents.fetched.count("/keys") == 1

    async def test_fetches_of_keys_are_limited_for_each_address(
        self, fleet: SignInFleet, browser: Browser, documents: DocumentServer
    ) -> None:
        client, code = await self.connected(fleet, browser, documents)
        documents.documents["/keys"] = ["no key set"]
        signed = assertion(client, fleet.clock)
        statuses = [(await client.exchange(code, client_assertion=signed)).status_code for _ in range(21)]
        assert documents.fetched.count("/keys") == 19, "and one of the document"
        assert statuses == [401] * 19 + [429] * 2

    @pytest.mark.parametrize(
        "changes",
        [
            {"aud": "https://other.example/token"},
            {"aud": None},
            {"sub": "https://other.example/client.json"},
            {"iss": "https://other.example/client.json"},
            {"exp": 0},
            {"exp": None},
            {"exp": 10**12},
            {"exp": 10**400},
            {"nbf": 10**400},
            {"exp": "soon"},
            {"jti": None},
            {"jti": ""},
            {"jti": "\ud800"},
            {"jti": "\x00"},
            {"nbf": 10**12},
        ],
    )
    async def test_a_claim_that_is_wrong_is_refused(
        self, fleet: SignInFleet, browser: Browser, documents: DocumentServer, changes: dict[str, Any]
    ) -> None:
        client, code = await self.connected(fleet, browser, documents)
        try:
            signed = assertion(client, fleet.clock, **changes)
        except TypeError:  # PyJWT refuses to write such a claim
            signed = "x.y.z"
        refused = await client.exchange(code, client_assertion=signed)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")

    async def test_another_key_or_algorithm_is_refused(
        self, fleet: SignInFleet, browser: Browser, documents: DocumentServer
    ) -> None:
        client, code = await self.connected(fleet, browser, documents)
        forged = [
            assertion(client, fleet.clock, OTHER_KEY),
            assertion(client, fleet.clock, ec.generate_private_key(ec.SECP256R1()), "ES256"),
            assertion(client, fleet.clock, "a secret that is long enough for HS256", "HS256"),
            assertion(client, fleet.clock, None, "none"),
            "a.b.c",
            unsigned(client, '{"alg": "RS256", "kid": "one", "a": ' + "[" * 4_000),
            unsigned(client, '{"alg": ["RS256"], "kid": "one"}'),
            unsigned(client, '{"alg": "RS256", "kid": {}}'),
            unsigned(client, '{"alg": {}}'),
            "",
            "x" * 10_000,
        ]
        for signed in forged:
            refused = await client.exchange(code, client_assertion=signed)
            assert refused.json()["error"] == "invalid_client"
        assert (await client.exchange(code)).json()["error"] == "invalid_client", "it cannot be left out"

    async def test_a_client_may_omit_its_key_if_its_document_allows_it(
        self, fleet: SignInFleet, browser: Browser, documents: DocumentServer
    ) -> None:
        documents.documents["/keys"] = jwks()
        client_id = documents.add(
            "/client.json",
            token_endpoint_auth_method="private_key_jwt",
            token_endpoint_auth_methods_supported=["none", "private_key_jwt"],
            jwks_uri=f"{documents.url}/keys",
        )
        client = fleet.client(client_id=client_id)
        await client.connect(browser)
        code = await client.code(browser)
        forged = assertion(client, fleet.clock, OTHER_KEY)
        refused = await client.exchange(code, client_assertion=forged, client_assertion_type=ASSERTION_TYPE)
        assert refused.json()["error"] == "invalid_client", "an assertion that is sent must be valid"

    @pytest.mark.parametrize(
        "uri",
        [
            "https://10.0.0.1/keys",
            "http://169.254.169.254/latest/meta-data",
            "https://[fd00::1]/keys",
            "http://client.example.com/keys",
            "https://user@client.example.com/keys",
            "https://[",
            "https://client.example.com:x/keys",
            "file:///etc/passwd",
        ],
    )
    async def test_keys_are_fetched_from_public_addresses_only(
        self, fleet: SignInFleet, browser: Browser, documents: DocumentServer, uri: str
    ) -> None:
        client_id = documents.add("/client.json", token_endpoint_auth_method="private_key_jwt", jwks_uri=uri)
        client = fleet.client(client_id=client_id, extra={"client_assertion_type": ASSERTION_TYPE})
        shown = await browser.open(client.url())
        assert isinstance(shown, Page)
        refused = await client.exchange("lac_x", client_assertion=assertion(client, fleet.clock))
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")

    async def exchanged(
        self, fleet: SignInFleet, browser: Browser, documents: DocumentServer, keys: Any, key: Any = KEY
    ) -> int:
        """Exchange a code with an assertion that `key` has signed, for a client with these keys. Return the status."""
        client, code = await self.connected(fleet, browser, documents)
        documents.documents["/keys"] = keys
        return (await client.exchange(code, client_assertion=assertion(client, fleet.clock, key))).status_code

    async def test_a_private_key_in_a_key_set_is_not_used(
        self, fleet: SignInFleet, browser: Browser, documents: DocumentServer
    ) -> None:
        """The owner of the private part would be able to sign, and to build such a key may take minutes."""
        jwk = RSAAlgorithm.to_jwk(KEY, as_dict=True) | {"kid": "one", "use": "sig", "alg": "RS256"}
        assert await self.exchanged(fleet, browser, documents, {"keys": [{**jwk, "key_ops": ["verify"]}]}) == 401

    async def test_a_key_whose_exponent_is_long_is_not_used(
        self, fleet: SignInFleet, browser: Browser, documents: DocumentServer
    ) -> None:
        key = with_long_exponent()
        assert await self.exchanged(fleet, browser, documents, jwks(key), key) == 401

    @pytest.mark.parametrize("beside", [{}, {"kty": "RSA"}, {"kty": []}, {"keys": {}}, {"kid": {}}, None, "x", [[]]])
    async def test_unusable_keys_beside_the_right_one_are_left_out(
        self, fleet: SignInFleet, browser: Browser, documents: DocumentServer, beside: Any
    ) -> None:
        keys = jwks()["keys"]
        assert await self.exchanged(fleet, browser, documents, {"keys": [beside, *keys, beside]}) == 200

    @pytest.mark.parametrize("keys", [{}, {"keys": {}}, {"keys": [[]]}, {"keys": [jwks()["keys"][0]] * 2}])
    async def test_a_key_set_without_exactly_one_fitting_key_is_refused(
        self, fleet: SignInFleet, browser: Browser, documents: DocumentServer, keys: Any
    ) -> None:
        assert await self.exchanged(fleet, browser, documents, keys) == 401

    async def test_keys_within_the_document_are_used(
        self, fleet: SignInFleet, browser: Browser, documents: DocumentServer
    ) -> None:
        client_id = documents.add("/client.json", token_endpoint_auth_method="private_key_jwt", jwks=jwks())
        client = fleet.client(client_id=client_id, extra={"client_assertion_type": ASSERTION_TYPE})
        code = await client.code(browser)
        issued = await client.exchange(code, client_assertion=assertion(client, fleet.clock, aud=fleet.issuer))
        assert issued.status_code == 200
