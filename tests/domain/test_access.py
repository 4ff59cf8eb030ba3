"""Principal and Credential: owners of tasks, and reprs without secrets."""

from app.domain.access import Credential, Principal


def test_the_owner_of_a_members_tasks_is_the_team() -> None:
    principal = Principal("member", "team", former=("member under an older key",))
    assert principal.owner == "team"
    assert principal.owners == ("team",)


def test_owners_outside_of_teams_are_the_subject_under_each_secret_key() -> None:
    principal = Principal("subject", former=("older", "oldest"))
    assert principal.owner == "subject"
    assert principal.owners == ("subject", "older", "oldest")


def test_the_repr_of_a_credential_has_its_id_without_the_secret() -> None:
    assert repr(Credential("id-1", "hunter2")) == "Credential(id='id-1')"
