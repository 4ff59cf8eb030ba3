"""Converts people who have signed in to the types of the directory of teams."""

from collections.abc import Callable

from app.domain.sign_in import PersonSecrets
from app.domain.teams import Person, name_for, valid_name
from app.ports.people import Newcomer

MemberHash = Callable[[str], str]
"""Returns the keyed hash of a text, with a secret of the database as the key: at least 32 hex digits."""


def directory_person(issuer: str, subject: str, secrets: PersonSecrets) -> Person:
    """Return the directory's Person. The name is the label if valid, else made of `subject`."""
    try:
        name = valid_name(secrets.label)
    except ValueError:
        name = name_for(subject)
    return Person(issuer, subject, name, secrets.teams or ())


def newcomer_of(person: Person, hash_of: MemberHash) -> Newcomer:
    """Return the ids and the name that `person` has as a member of teams."""
    identity = f"{person.issuer} {person.subject}"  # The hashed text is unambiguous: only the subject may have blanks.
    return Newcomer(
        hash_of(f"person {identity}")[:32], person.name, lambda team_id: hash_of(f"member {team_id} {identity}")[:32]
    )
