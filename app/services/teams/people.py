"""People who sign in, as the directory of teams knows people."""

from app.domain.sign_in import PersonSecrets
from app.domain.teams import Person, valid_name


def directory_person(issuer: str, subject: str, secrets: PersonSecrets) -> Person:
    """Return the directory's Person. The name is the label if valid, else the first 40 characters of `subject`."""
    try:
        name = valid_name(secrets.label)
    except ValueError:
        name = subject[:40]
    return Person(issuer, subject, name, secrets.teams or ())
