"""Sign-in over HTTP: OAuth metadata and challenges, the endpoints of the authorization server, and its pages."""
