"""The exceptions of the verification of JSON Web Tokens."""

from app.ports.auth import TokenFault


class TokenRefused(Exception):
    """A token is not valid. `fault` is the reason for the metrics; the response to the holder does not contain it."""

    def __init__(self, fault: TokenFault) -> None:
        """Hold the reason."""
        super().__init__(fault.value)
        self.fault = fault


class IssuerUnavailable(Exception):
    """A request to the issuer failed. `str()` completes a sentence whose subject is the issuer."""
