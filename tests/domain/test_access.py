"""Who owns what: a team's tasks belong to the team, everybody else's to whoever made them."""

from app.domain.access import Credential, Principal


def test_a_member_of_a_team_acts_for_the_team() -> None:
    principal = Principal("member", "team", former=("member under an older key",))
    assert principal.owner == "team"
    assert principal.owners == ("team",)


def test_a_caller_without_a_team_owns_under_every_name_that_it_had() -> None:
    principal = Principal("subject", former=("older", "oldest"))
    assert principal.owner == "subject"
    assert principal.owners == ("subject", "older", "oldest")


def test_a_credential_shows_its_id_and_never_its_secret() -> None:
    assert repr(Credential("id-1", "hunter2")) == "Credential(id='id-1')"
