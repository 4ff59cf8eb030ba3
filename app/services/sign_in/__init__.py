"""Sign-in (OAuth 2.1): registration of clients, consent, login at the upstream, grants and tokens."""
