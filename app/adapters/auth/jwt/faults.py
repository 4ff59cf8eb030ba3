"""The exceptions of the parts that verify JSON Web Tokens."""

from app.ports.auth import TokenFault


class TokenRefused(Exception):
    """A token is not valid. `fault` says why; the token's holder is not told."""

    def __init__(self, fault: TokenFault) -> None:
        """Take the reason."""
        super().__init__(fault.value)
        self.fault = fault


class IssuerUnavailable(Exception):
    """The keys of the issuer could not be read. `str()` is the end of a sentence that begins with the issuer."""
