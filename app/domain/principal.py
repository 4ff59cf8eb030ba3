"""Who is calling, as a value that travels with the call."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one request.

    `tenant` is a keyed hash of the bearer token: equal for equal tokens, safe in keys and logs.
    `credential` is the token itself, forwarded to the backend and shown nowhere.
    """

    tenant: str
    credential: str = field(repr=False)
