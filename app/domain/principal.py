"""The authenticated caller, as a value."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one request.

    `tenant` is a keyed hash of the bearer token: equal for equal tokens, safe in keys and logs.
    `credential` is the token itself, forwarded to the backend and shown nowhere.
    `former` are the tenant's names under the service's older secret keys, in their order.
    """

    tenant: str
    credential: str = field(repr=False)
    former: tuple[str, ...] = ()

    @property
    def owners(self) -> tuple[str, ...]:
        """Return every name under which the caller's purchases may be recorded: one for each secret key."""
        return (self.tenant, *self.former)
