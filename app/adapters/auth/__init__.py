"""Authentication of bearer tokens, and the logins and secrets of sign-in."""
