"""The HTTP surface: routes, guards and the lifespan that opens and closes everything."""
