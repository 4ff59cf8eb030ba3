"""Composes the names of all keys and channels in Redis."""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit


@dataclass(frozen=True, slots=True)
class KeyNamespace:
    """The names of one deployment, so that several deployments can share a Redis.

    Attributes:
        root: prefix of all names: the configured prefix, which an ACL can match, and the backend's URL, because task
            ids are only unique within a backend.

    """

    root: str

    def key(self, tenant: str, kind: str, name: str = "") -> str:
        """Return a key of `tenant`. The tenant is the hash tag, so one node of a Redis Cluster has all of its keys."""
        return f"{self.root}:{{{tenant}}}:{kind}:{name}"

    def channel(self, database: int) -> str:
        """Return the channel for one database number. Redis channels are not separated by database."""
        return f"{self.root}:{database}:events"


def key_namespace(prefix: str, backend_url: str | None) -> KeyNamespace:
    """Return the namespace for `prefix` and the backend's URL; None stands for the sandbox.

    Scheme, host, port and path are part of the names, because two backends may differ in only one of them. Characters
    with a meaning in keys or ACLs, such as braces and asterisks, are percent-encoded.
    """
    if backend_url is None:
        return KeyNamespace(f"{prefix}:sandbox")
    parts = urlsplit(backend_url)
    host = quote(parts.netloc.rpartition("@")[2].lower(), safe=":")
    path = quote(parts.path.rstrip("/"))
    return KeyNamespace(f"{prefix}:{parts.scheme}:{host}" + (f":{path}" if path else ""))


def tenant_in(key: str) -> str:
    """Return the tenant in a key from `KeyNamespace.key`: the text in braces, or "" if there is none."""
    return key.partition("{")[2].partition("}")[0]
