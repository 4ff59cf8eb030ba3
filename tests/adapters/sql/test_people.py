"""Invitations and the teams of people in the database, by the same contract on every kind."""

import asyncio
import secrets
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from app.adapters.sql.engine import Database
from app.adapters.sql.invitations import KEPT_SECONDS
from app.adapters.sql.people_tables import invitations
from app.domain.invitations import Invitation
from app.domain.teams import TeamCredential
from app.ports.directory import Directory, NotThere
from app.ports.people import InvitationEnded, Newcomer, NewInvitation
from tests.support.clock import HandClock
from tests.support.directories import ACTOR, directory_at

HOUR = 3600.0


@pytest.fixture
async def directory(database: Database, clock: HandClock) -> Directory:
    made = directory_at(database, clock)
    for name in ("film", "ads"):
        await made.teams.create(name, "UTC", ACTOR)
    return made


def person(name: str) -> Newcomer:
    """Return a person whose ids are made of the name."""
    number = name.encode().hex()
    return Newcomer(f"{number:0>32}", name, lambda team_id: f"{number}{team_id}"[:32])


def new() -> NewInvitation:
    return NewInvitation(secrets.token_hex(6), secrets.token_hex(32))


async def invited(directory: Directory, team: str = "film", seconds: float = HOUR) -> tuple[str, Invitation]:
    """Return the digest of an invitation, and the invitation."""
    made = new()
    return made.digest, await directory.invitations.create(team, made, ACTOR, expires_seconds=seconds, note="for Bea")


async def actions(directory: Directory) -> list[str]:
    """Return what was done beyond making the teams."""
    return [entry.action for entry in await directory.audit.entries(100)][2:]


async def test_an_invitation_is_found_by_its_digest_and_listed_by_its_team(
    directory: Directory, clock: HandClock
) -> None:
    digest, made = await invited(directory)
    assert (made.note, made.created_at, made.expires_at) == ("for Bea", clock(), clock() + HOUR)
    assert await directory.invitations.find(digest) == made
    assert await directory.invitations.of_team("film") == [made]
    assert await directory.invitations.of_team("ads") == []
    assert await directory.invitations.find("0" * 64) is None
    with pytest.raises(NotThere):
        await directory.invitations.of_team("none")
    with pytest.raises(NotThere):
        await invited(directory, "none")


async def test_an_invitation_that_is_recorded_twice_is_one(directory: Directory) -> None:
    made, invitations = new(), directory.invitations
    first = await invitations.create("film", made, ACTOR, expires_seconds=HOUR)
    assert await invitations.create("film", made, ACTOR, expires_seconds=HOUR) == first
    assert await actions(directory) == ["member.invite"]


async def test_a_person_joins_once_and_a_repeated_try_changes_nothing(directory: Directory) -> None:
    digest, made = await invited(directory)
    member = await directory.invitations.join(digest, person("bea"), ACTOR)
    assert await directory.invitations.join(digest, person("bea"), ACTOR) == member
    found = await directory.people.find(person("bea").person_id)
    assert found is not None
    assert (found.team.name, found.member, found.is_personal) == ("film", member, False)
    assert await directory.teams.members("film") == [member]
    with pytest.raises(InvitationEnded):
        await directory.invitations.join(digest, person("carl"), ACTOR)
    assert await directory.invitations.find(digest) is None
    assert await directory.invitations.of_team("film") == []
    with pytest.raises(NotThere):
        await directory.invitations.end(made.id, ACTOR)
    assert await actions(directory) == ["member.invite", "member.add", "member.join"]


async def test_an_expired_and_an_ended_invitation_bind_nobody(directory: Directory, clock: HandClock) -> None:
    expired, old = await invited(directory)
    ended, made = await invited(directory, seconds=3 * HOUR)
    clock.advance(HOUR)
    assert await directory.invitations.end(made.id, ACTOR) == made
    assert await directory.invitations.end(made.id, ACTOR) == made, "a repeated try changes nothing"
    for digest in (expired, ended, "0" * 64):
        assert await directory.invitations.find(digest) is None
        with pytest.raises(InvitationEnded):
            await directory.invitations.join(digest, person("bea"), ACTOR)
    assert await directory.invitations.of_team("film") == []
    assert await directory.people.find(person("bea").person_id) is None
    assert await directory.teams.members("film") == []
    with pytest.raises(NotThere):
        await directory.invitations.end(old.id, ACTOR)
    assert await actions(directory) == ["member.invite", "member.invite", "invitation.end"]


async def test_an_invitation_of_another_team_is_missing(directory: Directory) -> None:
    digest, made = await invited(directory)
    ads = await directory.teams.team("ads")
    with pytest.raises(NotThere) as other:
        await directory.invitations.end(made.id, ACTOR, team_id=ads.id)
    with pytest.raises(NotThere) as unknown:
        await directory.invitations.end("0" * 12, ACTOR, team_id=ads.id)
    assert str(other.value) == str(unknown.value).replace("0" * 12, made.id)
    assert await directory.invitations.find(digest) == made


async def test_of_many_people_at_once_one_joins(directory: Directory) -> None:
    digest, _ = await invited(directory)

    async def joins(number: int) -> bool:
        try:
            await directory.invitations.join(digest, person(f"p{number}"), ACTOR)
        except InvitationEnded:
            return False
        return True

    assert sum(await asyncio.gather(*map(joins, range(6)))) == 1
    assert len(await directory.teams.members("film")) == 1


async def test_a_later_invitation_moves_a_person_and_an_earlier_one_leads_nowhere_again(directory: Directory) -> None:
    first, _ = await invited(directory)
    second, _ = await invited(directory, "ads")
    for digest in (first, second):
        await directory.invitations.join(digest, person("bea"), ACTOR)
    found = await directory.people.find(person("bea").person_id)
    assert found is not None
    assert found.team.name == "ads"
    with pytest.raises(InvitationEnded):
        await directory.invitations.join(first, person("bea"), ACTOR)
    film = await directory.teams.team("film")
    left = [one for one in await directory.audit.entries(100) if one.action == "member.leave"]
    assert [(one.team_id, one.subject) for one in left] == [(film.id, "film/bea")]
    assert len(await directory.teams.members("film")) == 1, "the member stays listed"


async def test_somebody_elses_name_is_not_taken(directory: Directory) -> None:
    await directory.teams.add_member("film", "bea", ACTOR)
    digest, _ = await invited(directory)
    member = await directory.invitations.join(digest, person("bea"), ACTOR)
    assert member.name.startswith("bea ")
    again, _ = await invited(directory)
    assert await directory.invitations.join(again, person("bea"), ACTOR) == member


async def test_old_invitations_are_deleted_when_one_is_made(
    database: Database, directory: Directory, clock: HandClock
) -> None:
    await invited(directory)
    clock.advance(HOUR + KEPT_SECONDS + 1)
    await invited(directory)

    wanted = select(func.count()).select_from(invitations)
    assert (await database.run(lambda connection: connection.execute(wanted))).scalar_one() == 1


async def test_a_personal_team_is_made_once(directory: Directory) -> None:
    made = await asyncio.gather(*(directory.people.make_personal(person("bea"), ACTOR, 10) for _ in range(4)))
    assert len({one.team.id for one in made}) == 1
    assert made[0].is_personal
    assert made[0].team.name == f"personal-{person('bea').person_id[:12]}"
    assert await directory.people.find(person("bea").person_id) == made[0]
    assert await directory.teams.members(made[0].team.name) == [made[0].member]
    assert await actions(directory) == ["team.create", "member.add"]
    other = await directory.people.make_personal(replace(person("carl"), person_id="c" * 32), ACTOR, 10)
    assert other.team.id != made[0].team.id


async def test_a_personal_team_gives_way_to_one_whose_name_it_would_have(directory: Directory) -> None:
    taken = f"personal-{person('bea').person_id[:12]}"
    await directory.teams.create(taken, "UTC", ACTOR)
    made = await directory.people.make_personal(person("bea"), ACTOR, 10)
    assert made.team.name.startswith("personal-")
    assert made.team.name != taken


async def test_a_personal_team_is_named_by_no_claim_and_comes_after_an_invitation(directory: Directory) -> None:
    made = await directory.people.make_personal(person("bea"), ACTOR, 10)
    assert [team.name for team in await directory.teams.named(["film", made.team.name])] == ["film"]
    digest, _ = await invited(directory)
    await directory.invitations.join(digest, person("bea"), ACTOR)
    found = await directory.people.find(person("bea").person_id)
    assert found is not None
    assert (found.team.name, found.is_personal) == ("film", False)


async def test_a_credential_replaces_the_others_of_its_backend(directory: Directory) -> None:
    film, ads = await directory.teams.team("film"), await directory.teams.team("ads")

    def credential(number: int, team_id: str = film.id, backend: str = "acedata") -> TeamCredential:
        return TeamCredential(f"c{number}", team_id, backend, f"sealed-{number}", "…", created_at=0.0)

    for one in (credential(1), credential(2), credential(3, backend="other"), credential(4, team_id=ads.id)):
        await directory.credentials.add(one, ACTOR)
    for _ in range(2):  # a repeated try changes nothing
        await directory.credentials.replace_all(credential(5), ACTOR)
    assert {one.id for one in await directory.credentials.of_team(film.id)} == {"c3", "c5"}
    assert [one.id for one in await directory.credentials.of_team(ads.id)] == ["c4"]
    done = [action for action in await actions(directory) if action.startswith("credential")]
    assert sorted(done) == ["credential.add"] * 5 + ["credential.remove"] * 2
    await asyncio.gather(*(directory.credentials.replace_all(credential(number), ACTOR) for number in range(6, 10)))
    assert len(await directory.credentials.of_team(film.id)) == 2
    with pytest.raises(NotThere):
        await directory.credentials.replace_all(credential(10, team_id="0" * 32), ACTOR)
