"""Sign-in: how clients learn of it, the endpoints of the authorization server, and its pages for people."""
