"""Under which names this deployment keeps what replicas share: the one place that composes keys and channels."""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit


@dataclass(frozen=True, slots=True)
class KeyNamespace:
    """The names of one deployment, so that several can share a Redis.

    All begin with `root`: a prefix that an ACL can name, and the backend's URL, for its task ids say nothing elsewhere.
    """

    root: str

    def key(self, tenant: str, kind: str, name: str = "") -> str:
        """Return a key of the tenant's. The tenant is the hash tag: one node of a Cluster has all of its keys."""
        return f"{self.root}:{{{tenant}}}:{kind}:{name}"

    def channel(self, database: int) -> str:
        """Return the channel of the replicas on one database: Redis does not tell channels of databases apart."""
        return f"{self.root}:{database}:events"


def key_namespace(prefix: str, backend_url: str | None) -> KeyNamespace:
    """Return the names that begin with `prefix` and the backend's URL; None stands for the sandbox.

    Two backends may differ in scheme, host, port or path alone, so all of them are part of the names. Signs that mean
    something in keys or ACLs, such as braces and stars, are percent-encoded.
    """
    if backend_url is None:
        return KeyNamespace(f"{prefix}:sandbox")
    parts = urlsplit(backend_url)
    host = quote(parts.netloc.rpartition("@")[2].lower(), safe=":")
    path = quote(parts.path.rstrip("/"))
    return KeyNamespace(f"{prefix}:{parts.scheme}:{host}" + (f":{path}" if path else ""))


def tenant_in(key: str) -> str:
    """Return whose key it is: what stands in braces, as `KeyNamespace.key` writes it; "" where nothing does."""
    return key.partition("{")[2].partition("}")[0]
