"""How clients learn where to sign in, and which scopes they lack."""
