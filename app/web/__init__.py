"""The HTTP application: routes, middleware, and the lifespan that opens and closes all parts."""
