"""Members of teams call with tokens of an identity provider, which the service verifies."""

import asyncio
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest

from app.adapters.auth.jwt.claims import LEEWAY_SECONDS
from app.adapters.auth.jwt.issuer_keys import REFRESH_SECONDS, RETRY_SECONDS
from app.adapters.sql.rate_limits import SqlTeamLimits
from app.domain.rate_limit import Limits
from app.ports.budgets import BudgetOwner
from tests.support.clock import HandClock, while_time_passes
from tests.support.issuer import AUDIENCE, Realm, written
from tests.support.issuer_app import new_private_key
from tests.support.service import SECONDS, Service, sandbox, serving, settings
from tests.support.settling import settle
from tests.support.teams import ACTOR, Teams, teams_in

PUBLIC = "https://luma.example.com"
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


class World:
    """A service that trusts a realm, and its teams film and ads."""

    def __init__(self, service: Service, realm: Realm, teams: Teams, clock: HandClock) -> None:
        self.service, self.realm, self.teams, self.clock = service, realm, teams, clock

    async def settle(self, seconds: float = 0.0) -> None:
        """Let `seconds` pass and then as much time as it takes until the service has seen what has changed."""
        await while_time_passes(self.clock, self.clock.sleep(seconds), step=4.0)
        await settle(self.clock, self.service)

    def token(self, **changes: Any) -> str:
        return self.realm.token(self.clock(), **changes)

    async def status(self, token: str) -> int:
        return (await self.service.post(LIST, token=token)).status_code

    async def status_and_reason(self, token: str) -> tuple[int, str | None]:
        """Return the status of a call, and the reason for which its token was refused, if it was."""
        before = self.refusals()
        status = await self.status(token)
        reasons = [name for name, number in self.refusals().items() if number != before.get(name, 0)]
        return status, ",".join(reasons) or None

    def refusals(self) -> dict[str, float]:
        """Return how many tokens were refused, by reason."""
        lines = self.service.assembly.metrics.exposition().decode().splitlines()
        counted = (line.split(" ") for line in lines if line.startswith("luma_mcp_tokens_refused_total{"))
        return {name.split('"')[1]: float(value) for name, value in counted}


@asynccontextmanager
async def world_of(clock: HandClock, realm: Realm, url: str, **more: Any) -> AsyncIterator[World]:
    usual = {"auth": "passthrough,keys,jwt", "jwt_issuer": realm.issuer, "public_url": PUBLIC, "database_url": url}
    async with serving(settings(**{**usual, **more}), sandbox(clock), clock) as service:
        teams = teams_in(service.assembly.persistence.database, clock)
        await teams.team("film", "token-film")
        await teams.team("ads", "token-ads")
        await while_time_passes(clock, _opened(service), step=0.5)
        yield World(service, realm, teams, clock)


async def _opened(service: Service) -> None:
    """Wait until the service has opened the directory of teams."""
    assert service.assembly.directory is not None
    while service.assembly.directory.digest() is None:
        await asyncio.sleep(0)


@pytest.fixture
async def world(clock: HandClock, realm: Realm, database_url: str) -> AsyncIterator[World]:
    async with world_of(clock, realm, database_url) as lent:
        yield lent


async def test_a_person_generates_with_the_teams_credential_and_is_a_member_from_then_on(world: World) -> None:
    token = world.token()
    task_id = (await world.service.ask("luma_generate_video", {"prompt": "A fox"}, token=token))["task_id"]
    world.clock.advance(SECONDS)
    task = await world.service.ask("luma_get_task", {"task_id": task_id}, token="token-film")
    assert task["state"] == "completed"
    [member] = await world.teams.directory.teams.members("film")
    assert member.name == "anna"
    [entry] = [one for one in await world.teams.directory.audit.entries(100) if one.action == "member.add"]
    assert (entry.member_id, entry.actor) == (member.id, f"issuer:{world.realm.issuer}")
    assert await world.status(world.token(iat=int(world.clock()) - 1)) == 200
    assert await world.teams.directory.teams.members("film") == [member], "a second token is of the same member"


async def test_keys_of_every_usual_kind_verify(world: World) -> None:
    algorithms = ["RS512", "PS256", "ES384", "ES512", "EdDSA"]
    for algorithm in algorithms:
        world.realm.add_key(algorithm, algorithm)
    await world.settle(RETRY_SECONDS)
    for key in ("rsa-1", "ec-1", *algorithms):
        assert await world.status(world.token(key=key)) == 200, key


async def test_members_are_told_apart_by_subject_and_never_by_name(world: World) -> None:
    await world.teams.directory.teams.add_member("film", "anna", ACTOR)
    for subject in ("anna-7", "anna-8"):
        assert await world.status(world.token(sub=subject)) == 200
    names = [one.name for one in await world.teams.directory.teams.members("film")]
    assert len(names) == 3
    assert all(name.startswith("anna") for name in names)


async def test_one_person_in_two_teams_is_two_members_and_sees_each_teams_tasks_alone(world: World) -> None:
    film, ads = world.token(), world.token(team="ads")
    task_id = (await world.service.ask("luma_generate_video", {"prompt": "A fox"}, token=film))["task_id"]
    answer = await world.service.ask("luma_get_tasks_batch", {"task_ids": [task_id]}, token=ads)
    assert answer["missing"] == [task_id]
    assert (await world.service.ask("luma_list_tasks", {}, token=ads))["tasks"] == []


async def test_a_stopped_member_cannot_spend_within_seconds_and_can_read(world: World) -> None:
    token = world.token()
    assert await world.status(token) == 200
    await world.teams.directory.teams.stop_member("film", "anna", ACTOR)
    await world.settle()
    assert (await world.service.fail("luma_generate_video", {"prompt": "A fox"}, token=token))["code"] == "stopped"
    assert await world.status(token) == 200
    await world.teams.directory.teams.stop_member("film", "anna", ACTOR, is_stopped=False)
    await world.settle()
    assert (await world.service.ask("luma_generate_video", {"prompt": "A fox"}, token=token))["task_id"]


async def test_the_team_is_one_of_the_names_in_its_claim(world: World) -> None:
    for team in ("film", "/film", ["film"], ["everyone", "film"], ["/everyone", "/film", 7], ["film", "film"]):
        assert await world.status(world.token(team=team)) == 200, team


async def test_a_token_that_names_no_team_or_several_is_refused_with_a_sentence(world: World) -> None:
    teams: list[object] = [None, "music", ["music"], ["film", "ads"], 7, {"film": 1}, "", "x" * 65, "a\nb"]
    for team in teams:
        response = await world.service.post(LIST, token=world.token(team=team))
        assert response.status_code == 403, team
        assert "team" in response.json()["error"]["message"]
    assert world.refusals() == {"team": len(teams)}


async def test_a_team_created_later_is_accepted_within_seconds(world: World) -> None:
    token = world.token(team="music")
    assert await world.status(token) == 403
    await world.teams.team("music", "token-music")
    await world.settle()
    assert await world.status(token) == 200


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"aud": "https://other.example.com/mcp"}, "audience"),
    ({"aud": ["https://other.example.com/mcp", 7]}, "audience"),
    ({"aud": None}, "audience"),
    ({"aud": f"{AUDIENCE}/"}, "audience"),
    ({"exp": None}, "claims"),
    ({"exp": "tomorrow"}, "claims"),
    ({"exp": True}, "claims"),
    ({"exp": 10**400}, "claims"),
    ({"nbf": 10**11}, "premature"),
    ({"iat": 10**11}, "premature"),
    ({"sub": None}, "claims"),
    ({"sub": ""}, "claims"),
    ({"sub": "x" * 256}, "claims"),
    ({"sub": "anna\n"}, "claims"),
    ({"typ": "ID"}, "claims"),
    ({"typ": "Refresh"}, "claims"),
    ({"cnf": {"jkt": "0" * 43}}, "claims"),
]


async def test_claims_that_do_not_allow_the_call_are_401(world: World) -> None:
    for changes, reason in CHANGES:
        assert await world.status_and_reason(world.token(**changes)) == (401, reason), changes


HEADERS: list[tuple[dict[str, Any], str | None]] = [
    ({"typ": "dpop+jwt"}, "header"),
    ({"typ": "oauth-id-jag+jwt"}, "header"),
    ({"typ": 7}, "header"),
    ({"crit": ["exp"], "exp": 1}, "header"),
    ({"kid": "nobody"}, "key"),
    ({"kid": "x" * 201}, "key"),
    ({"kid": "ec-1"}, "algorithm"),
    ({"kid": None}, None),
    ({"typ": "at+jwt"}, None),
    ({"typ": None}, None),
    ({"jwk": {"kty": "oct", "k": "AAAA"}, "jku": "http://127.0.0.1:1/keys"}, None),
]


async def test_jose_headers_are_checked(world: World) -> None:
    for header, reason in HEADERS:
        expected = (200 if reason is None else 401, reason)
        assert await world.status_and_reason(world.token(header=header)) == expected, header


async def test_an_issuer_without_key_ids_has_one_key_of_a_kind(world: World) -> None:
    world.realm.add_key("rsa-2", "RS256")
    await world.settle(REFRESH_SECONDS + RETRY_SECONDS)
    assert await world.status(world.token(header={"kid": None})) == 401
    assert await world.status(world.token(key="ec-1", header={"kid": None})) == 200


def forged(realm: Realm, now: float) -> dict[str, tuple[str, str]]:
    """Return tokens that no key of the realm has signed, with the reason of each refusal."""
    claims = realm.claims(now)
    rs256 = {"alg": "RS256", "kid": "rsa-1", "typ": "JWT"}
    good = realm.token(now)
    head, _, signature = good.split(".")
    [modulus] = [jwk["n"] for jwk in realm.published() if jwk["kid"] == "rsa-1"]
    secret = urlsafe_b64decode(modulus + "==")
    confused = written({**rs256, "alg": "HS256"}, claims).rpartition(".")[0]
    mac = urlsafe_b64encode(hmac.digest(secret, confused.encode(), "sha256")).rstrip(b"=").decode()
    other = urlsafe_b64encode(json.dumps({**claims, "team": "ads"}).encode()).rstrip(b"=").decode()
    own_key = jwt.encode(claims, new_private_key("ES256"), "ES256", headers={"kid": "ec-1"})
    return {
        "none": (written({"alg": "none"}, claims), "algorithm"),
        "None": (written({"alg": "None", "kid": "rsa-1"}, claims), "algorithm"),
        "a symmetric algorithm under the public key": (f"{confused}.{mac}", "algorithm"),
        "an algorithm that is no text": (written({**rs256, "alg": ["RS256"]}, claims), "algorithm"),
        "an algorithm of another key": (written({**rs256, "alg": "ES256"}, claims, b"x" * 64), "algorithm"),
        "no signature": (written(rs256, claims), "signature"),
        "another signature": (written(rs256, claims, b"x" * 256), "signature"),
        "other claims": (f"{head}.{other}.{signature}", "signature"),
        "another key": (own_key, "signature"),
        "a detached payload": (written({**rs256, "b64": False, "crit": ["b64"]}, claims), "header"),
        "an endless validity": (written(rs256, {**claims, "exp": float("inf")}), "claims"),
        "parts that are no JSON": ("eyJ.eyJ.x", "form"),
        "a padded signature": (f"{good}=", "form"),
        "a surplus dot": (f"{good}.", "form"),
        "a surplus part": (f"{good}.x", "form"),
        "a character before it": (f"a{good}", "form"),
        "a dot before it": (f".{good}", "form"),
        "no last part": (good.rpartition(".")[0], "form"),
        "no header": (good.partition(".")[2], "form"),
        "another separator": (good.replace(".", "~"), "form"),
        "a number of 5,000 digits": (_with_digits(written(rs256, {**claims, "exp": 0})), "form"),
        "claims that are no object": (written(rs256, [claims]), "form"),
        "no algorithm": (written({"kid": "rsa-1"}, claims), "form"),
        "a nested key id": (written({**rs256, "kid": {"a": 1}}, claims), "key"),
    }


def _with_digits(token: str) -> str:
    """Return the token with 5,000 digits as its `exp`."""
    head, claims, signature = token.split(".")
    text = urlsafe_b64decode(claims + "==").replace(b'"exp": 0', b'"exp": ' + b"9" * 5000)
    return f"{head}.{urlsafe_b64encode(text).rstrip(b'=').decode()}.{signature}"


async def test_forgeries_are_refused_and_counted(world: World) -> None:
    for how, (token, reason) in forged(world.realm, world.clock()).items():
        assert await world.status_and_reason(token) == (401, reason), how


async def test_a_token_is_accepted_until_its_expiry_plus_leeway(world: World) -> None:
    issued_at = world.clock()
    token = world.token(exp=int(issued_at) + 100, nbf=int(issued_at + LEEWAY_SECONDS - 5))
    assert await world.status(token) == 200
    await world.settle(100 + LEEWAY_SECONDS - 15)
    assert world.clock() > issued_at + 100
    assert await world.status(token) == 200
    await world.settle(20)
    assert await world.status(token) == 401
    assert world.refusals() == {"expired": 1}


async def test_a_token_of_another_issuer_is_a_token_of_the_backend_where_those_are_accepted(
    world: World, issuer: Any
) -> None:
    stranger = issuer.realm()
    token = stranger.token(world.clock())
    assert await world.status(token) == 200
    for other in (token + ".x", "a.b.c", token.partition(".")[2]):
        assert await world.status(other) == 200
    assert world.refusals() == {}
    assert await world.teams.directory.teams.members("film") == []


async def test_without_passthrough_a_token_of_another_issuer_is_refused(
    clock: HandClock, realm: Realm, issuer: Any, database_url: str
) -> None:
    async with world_of(clock, realm, database_url, auth="jwt") as world:
        anna = await world.teams.member("film", "anna")
        for token in (issuer.realm().token(clock()), "token-a", "a.b.c", anna):
            assert await world.status(token) == 401
        assert world.refusals() == {"form": 4}
        assert await world.status(world.token()) == 200


async def test_an_oversized_token_is_refused_without_decoding(world: World) -> None:
    assert await world.status(world.token(groups=["x" * 100] * 80)) == 401
    assert world.refusals() == {"oversized": 1}
    assert await world.status(world.token(groups=["x" * 36] * 120)) == 200


async def test_mistyped_and_unknown_team_keys_are_counted_under_different_reasons(world: World) -> None:
    well_formed, _ = await world.teams.new_key()
    for key in (well_formed, well_formed[:-1], "lmk_"):
        assert await world.status(key) == 401
    assert world.refusals() == {"team_key": 1, "checksum": 2}


async def test_an_unknown_key_id_reloads_the_issuers_keys_once_in_a_window(world: World) -> None:
    await world.settle(RETRY_SECONDS)
    before = world.realm.key_set_reads()
    for number in range(50):
        assert await world.status(world.token(header={"kid": f"made-up-{number}"})) == 401
    assert world.realm.key_set_reads() == before + 1
    world.realm.add_key("new")
    assert await world.status(world.token(key="new")) == 401, "the window is not over"
    await world.settle(RETRY_SECONDS)
    assert await world.status(world.token(key="new")) == 200
    assert world.realm.key_set_reads() == before + 2


async def test_a_withdrawn_key_is_refused_after_the_next_reload_of_the_keys(world: World) -> None:
    token = world.token(exp=int(world.clock()) + 9000)
    assert await world.status(token) == 200
    world.realm.withdraw_key("rsa-1")
    await world.settle(REFRESH_SECONDS + RETRY_SECONDS)
    assert await world.status(token) == 401
    assert world.refusals() == {"key": 1}


async def test_known_keys_are_accepted_and_others_get_503_during_an_outage_of_the_issuer(world: World) -> None:
    token = world.token()
    assert await world.status(token) == 200
    world.realm.fail(status=503)
    await world.settle(REFRESH_SECONDS + RETRY_SECONDS)
    assert await world.status(token) == 200
    response = await world.service.post(LIST, token=world.token(header={"kid": "unknown"}))
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert "identity provider" in response.json()["error"]["message"]
    assert await world.status("token-film") == 200, "other ways to authenticate go on"


FAULTS: list[dict[str, Any]] = [
    {"metadata": {"issuer": "https://other.example.com"}},
    {"metadata": {"jwks_uri": None}},
    {"metadata": {"jwks_uri": "ftp://127.0.0.1/keys"}},
    {"metadata": {"jwks_uri": "http://127.0.0.1:99999/keys"}},
    {"metadata": {"jwks_uri": "http://["}},
    {"redirect": "https://example.com/"},
    {"padding": 300_000},
    {"keys": "<html>"},
    {"keys": "[" * 100_000},
    {"keys": '{"keys": 7}'},
    {"keys": '{"keys": [{"kty": "oct", "k": "AAAA", "kid": "rsa-1"}]}'},
]


async def test_unusable_documents_of_the_issuer_count_as_an_outage(
    clock: HandClock, realm: Realm, database_url: str
) -> None:
    realm.fail(status=500)
    async with world_of(clock, realm, database_url) as world:
        for faults in FAULTS:
            realm.fail(**faults)
            await world.settle(RETRY_SECONDS)
            assert await world.status(world.token()) == 503, faults
        realm.fail()
        await world.settle(RETRY_SECONDS * 2)
        assert await world.status(world.token()) == 200


async def test_metadata_at_the_path_of_rfc_8414_are_found(clock: HandClock, realm: Realm, database_url: str) -> None:
    realm.fail(only_rfc8414=True)
    async with world_of(clock, realm, database_url) as world:
        assert await world.status(world.token()) == 200


async def test_unusable_keys_of_a_key_set_are_ignored(clock: HandClock, realm: Realm, database_url: str) -> None:
    [rsa] = [jwk for jwk in realm.published() if jwk["kid"] == "rsa-1"]
    for strange in (
        {"kty": "oct", "kid": "rsa-1", "k": "AAAA"},
        {**rsa, "kid": "a", "use": "enc"},
        {**rsa, "kid": "b", "key_ops": ["encrypt"]},
        {**rsa, "kid": "c", "key_ops": 7},
        {**rsa, "kid": "d", "n": "AQAB"},
        {**rsa, "kid": "e", "n": "A" * 100_000},
        {**rsa, "kid": "f", "alg": "HS256"},
        {**rsa, "kid": ["g"]},
        {**rsa, "kid": "h", "d": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"},
        {"kty": "EC", "crv": ["P-256"]},
        {"kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA"},
        {},
    ):
        realm.publish(strange)
    async with world_of(clock, realm, database_url) as world:
        assert await world.status(world.token()) == 200
        for key_id in "abcdefgh":
            assert await world.status(world.token(header={"kid": key_id})) == 401


async def test_claims_and_scopes_have_the_names_that_the_operator_sets(
    clock: HandClock, realm: Realm, database_url: str
) -> None:
    names = {
        "jwt_audience": "api://luma,luma-2",
        "jwt_team_claim": "https://luma.example.com/team",
        "jwt_name_claim": "email",
        "jwt_scope_claims": "scp,roles",
        "jwt_read_scope": "api://luma/read",
        "jwt_generate_scope": "luma:generate",
    }
    async with world_of(clock, realm, database_url, **names) as world:
        claims = {
            "aud": "luma-2",
            "team": None,
            "https://luma.example.com/team": "film",
            "email": "anna@example.com",
            "scope": None,
            "scp": "read openid",
            "roles": ["luma:generate"],
        }
        token = world.token(**claims)
        assert (await world.service.ask("luma_generate_video", {"prompt": "A fox"}, token=token))["task_id"]
        assert [one.name for one in await world.teams.directory.teams.members("film")] == ["anna@example.com"]
        assert await world.status(world.token(**{**claims, "aud": AUDIENCE})) == 401


async def test_a_member_without_a_usable_name_is_listed_by_subject(world: World) -> None:
    for number, name in enumerate([None, 7, "x" * 65, "a\nb"]):
        assert await world.status(world.token(sub=f"subject-{number}", preferred_username=name)) == 200
    assert await world.status(world.token(sub="y" * 200, preferred_username=None)) == 200
    names = [one.name for one in await world.teams.directory.teams.members("film")]
    assert names == [*(f"subject-{number}" for number in range(4)), "y" * 40 + "…"]


async def test_a_known_token_costs_no_read_of_the_database_and_no_verification(world: World) -> None:
    token = world.token()
    assert await world.status(token) == 200
    first = await world.service.assembly.authenticator.authenticate(token)
    assert await world.service.assembly.authenticator.authenticate(token) is first


async def test_no_token_and_no_claim_is_in_a_log_line_or_repr(world: World, caplog: pytest.LogCaptureFixture) -> None:
    token = world.token(sub="secret-subject", preferred_username="secret-name")
    caller = await world.service.assembly.authenticator.authenticate(token)
    await world.service.ask("luma_list_actions", {}, token=token)
    assert await world.status(token[:-4] + "AAAA") == 401
    shown = repr(caller) + caplog.text + world.service.assembly.metrics.exposition().decode()
    for secret in (token, token.split(".")[1], "secret-subject", "secret-name"):
        assert secret not in shown


async def test_the_limits_of_a_member_and_their_team_hold_for_tokens_too(world: World) -> None:
    limits = SqlTeamLimits(world.service.assembly.persistence.database, world.clock.sql)
    token = world.token()
    await world.service.ask("luma_list_actions", {}, token=token)
    [member] = await world.teams.directory.teams.members("film")
    await limits.set(BudgetOwner("film", member=member.name), Limits(calls_per_minute=2), ACTOR)
    await world.settle()
    for _ in range(2):
        await world.service.ask("luma_list_actions", {}, token=token)
    assert (await world.service.fail("luma_list_actions", {}, token=token))["code"] == "rate_limited"


async def test_a_wait_ends_with_its_token(world: World) -> None:
    task_id = (await world.service.ask("luma_generate_video", {"prompt": "A fox"}, token=world.token()))["task_id"]
    short = world.token(exp=int(world.clock()) + 4)
    arguments = {"task_id": task_id, "wait_seconds": 50}
    waiting = asyncio.create_task(world.service.fail("luma_get_task", arguments, token=short))
    waits = world.service.assembly.metrics.registry.get_sample_value
    async with asyncio.timeout(20):
        while waits("luma_mcp_waiting_callers") != 1:
            await asyncio.sleep(0)
    began = world.clock.now
    assert (await while_time_passes(world.clock, waiting, step=0.5))["code"] == "unauthorized"
    assert world.clock.now - began <= 4 + LEEWAY_SECONDS + 5
