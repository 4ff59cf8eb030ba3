"""Assigns requests to the connections of httpcore's pool. The time is proportional to the number of connections.

For each idle connection, httpcore 1.0 counts all connections, and asks the kernel whether the server has closed it.
With 48 connections that takes 3 ms of the event loop at the beginning and at the end of each request.
"""

from httpcore import AsyncConnectionInterface, AsyncConnectionPool, Origin

Connections = list[AsyncConnectionInterface]


def assign_requests(pool: AsyncConnectionPool) -> Connections:
    """Assign the queued requests of `pool`, first come first served, and return the connections to close.

    Replaces `AsyncConnectionPool._assign_requests_to_connections` for HTTP/1.1, where a connection has one request. The
    least recently used idle connection is closed if it has expired, if more connections are idle than the pool may
    keep, or if a request needs its place in a full pool. Any other is closed if a request could use it but it has
    expired, for example because the server has closed it.
    """
    connections = [connection for connection in pool._connections if not connection.is_closed()]  # noqa: SLF001
    idle = [connection for connection in connections if connection.is_idle()]
    closing: Connections = []
    while idle and (len(idle) > pool._max_keepalive_connections or idle[0].has_expired()):  # noqa: SLF001
        closing.append(idle.pop(0))
    for request in pool._requests:  # noqa: SLF001
        if not request.is_queued():
            continue
        origin = request.request.url.origin
        connection = _take_usable(idle, origin, closing)
        if connection is not None:
            connections.remove(connection)
        else:
            if len(connections) - len(closing) >= pool._max_connections:  # noqa: SLF001
                if not idle:
                    break
                closing.append(idle.pop(0))
            connection = pool.create_connection(origin)
        connections.append(connection)  # the list is in order of last use
        request.assign_to_connection(connection)
    pool._connections = [connection for connection in connections if connection not in closing]  # noqa: SLF001
    return closing


def _take_usable(idle: Connections, origin: Origin, closing: Connections) -> AsyncConnectionInterface | None:
    """Remove from `idle` and return the most recently used connection to `origin`; None if there is none.

    Move connections that have expired to `closing`.
    """
    for connection in reversed(idle.copy()):
        if connection.can_handle_request(origin) and connection.is_available():
            idle.remove(connection)
            if not connection.has_expired():
                return connection
            closing.append(connection)
    return None
