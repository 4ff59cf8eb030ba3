"""Authentication by JSON Web Tokens of an OpenID issuer (RFC 7519, RFC 9068)."""
