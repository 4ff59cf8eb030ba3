"""The bearer tokens that a service accepts, in words: for the landing page, the server card and setup instructions."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.backend import BackendDescription


@dataclass(frozen=True, slots=True)
class _Wording:
    """The words for the token of one authentication method. `{backend}` stands for the backend's name.

    Attributes:
        token: the token, as the object of a sentence.
        placeholder: stands for the token in instructions.
        handling: sentences about what the service does with it.

    """

    token: str
    placeholder: str
    handling: tuple[str, ...]


_TEAM_CREDENTIAL = "Your team's token of {backend} is kept encrypted and never shown."
_WORDINGS = {
    "passthrough": _Wording(
        "your own {backend} API token",
        "YOUR_{backend}_TOKEN",
        ("Your {backend} token goes to {backend} with each call and is never stored or logged here.",),
    ),
    "keys": _Wording(
        "your key of a team",
        "YOUR_TEAM_KEY",
        ("Of a team key only a digest is kept here.", _TEAM_CREDENTIAL),
    ),
    "jwt": _Wording(
        "an access token of your identity provider",
        "YOUR_ACCESS_TOKEN",
        ("An access token of your identity provider is never stored or logged here.", _TEAM_CREDENTIAL),
    ),
}


@dataclass(frozen=True, slots=True)
class AcceptedTokens:
    """The words for the tokens of one service."""

    names: str
    """The tokens, as the object of a sentence, joined by "or"."""
    placeholder: str
    """The placeholder for the token of the first method, for instructions."""
    handling: str
    """Sentences about what the service does with the tokens."""


def accepted_tokens(methods: Sequence[str], backend: BackendDescription) -> AcceptedTokens:
    """Return the words for the tokens of `methods`, as in LUMA_MCP_AUTH."""
    wordings = [_WORDINGS[method] for method in methods]
    handling = dict.fromkeys(sentence for wording in wordings for sentence in wording.handling)
    return AcceptedTokens(
        backend.say(" or ".join(wording.token for wording in wordings)),
        backend.say(wordings[0].placeholder).upper().replace(" ", "_"),
        backend.say(" ".join(handling)),
    )
