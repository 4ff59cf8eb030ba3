"""Under which names this deployment keeps what replicas share: the one place that composes keys and channels."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_UNFIT_FOR_KEYS = re.compile(r"[^a-z0-9.:_-]")


@dataclass(frozen=True, slots=True)
class KeySpace:
    """The names of one deployment, so that several can share a Redis.

    All begin with `root`: a prefix that an ACL can name, and the backend, whose task ids say nothing elsewhere.
    """

    root: str

    def key(self, tenant: str, kind: str, name: str = "") -> str:
        """Return a key of the tenant's. The tenant is a Redis Cluster hash tag: one tenant, one node, one MGET."""
        return f"{self.root}:{{{tenant}}}:{kind}:{name}"

    def channel(self, database: int) -> str:
        """Return the channel of the replicas on one database: Redis does not tell channels of databases apart."""
        return f"{self.root}:{database}:events"


def key_space(prefix: str, backend_url: str | None) -> KeySpace:
    """Return the names that begin with `prefix` and the host of the backend; None stands for the sandbox."""
    parts = urlsplit(backend_url or "//sandbox")
    host = parts.netloc.rpartition("@")[2].lower()
    return KeySpace(f"{prefix}:{_UNFIT_FOR_KEYS.sub('_', host)}")
