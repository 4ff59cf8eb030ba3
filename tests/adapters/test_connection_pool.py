"""Requests get the connections that httpcore's own assignment would give them, with fewer looks at idle ones."""

import asyncio
from typing import Any

import httpcore
import httpx
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.checked_network import CheckedTransport
from app.adapters.connection_pool import assign_requests
from tests.support.raw_http import raw_server, write_json

ONE, OTHER = (httpcore.Origin(b"http", host, 80) for host in (b"one.example", b"other.example"))


class Connection(httpcore.AsyncConnectionInterface):
    """A connection whose state is set by hand, and which counts how often it is asked whether it has expired."""

    def __init__(self, origin: httpcore.Origin) -> None:
        self.origin = origin
        self.busy = True
        self.expired = self.closed = False
        self.looks = 0

    def can_handle_request(self, origin: httpcore.Origin) -> bool:
        return origin == self.origin

    def is_available(self) -> bool:
        return self.is_idle()

    def is_idle(self) -> bool:
        return not self.busy and not self.closed

    def is_closed(self) -> bool:
        return self.closed

    def has_expired(self) -> bool:
        self.looks += 1
        return self.expired and not self.busy


class Request:
    """A request of the pool: its origin, and its connection, None as long as it is queued."""

    def __init__(self, origin: httpcore.Origin) -> None:
        self.request = httpcore.Request("GET", httpcore.URL(scheme=b"http", host=origin.host, port=80, target=b"/"))
        self.connection: httpcore.AsyncConnectionInterface | None = None

    def is_queued(self) -> bool:
        return self.connection is None

    def assign_to_connection(self, connection: httpcore.AsyncConnectionInterface) -> None:
        self.connection = connection
        assert isinstance(connection, Connection)
        connection.busy = True


class Pool(httpcore.AsyncConnectionPool):
    """A pool whose connections are `Connection`s."""

    def __init__(self, most: int, kept: int | None = None) -> None:
        super().__init__(max_connections=most, max_keepalive_connections=kept)

    def create_connection(self, origin: httpcore.Origin) -> httpcore.AsyncConnectionInterface:
        return Connection(origin)

    def start(self, origin: httpcore.Origin = ONE) -> tuple[Request, list[httpcore.AsyncConnectionInterface]]:
        """Queue a request; return it, and the connections that are to be closed."""
        self._requests.append(request := Request(origin))  # type: ignore[arg-type]
        return request, assign_requests(self)

    def end(self, request: Request) -> list[httpcore.AsyncConnectionInterface]:
        """End the response to a request; return the connections that are to be closed."""
        assert isinstance(request.connection, Connection)
        request.connection.busy = False
        self._requests.remove(request)  # type: ignore[arg-type]
        return assign_requests(self)

    def idle(self, count: int) -> list[Connection]:
        """Let the pool have `count` idle connections, and return them, the one that was used last at the end."""
        requests = [self.start()[0] for _ in range(count)]
        for request in requests:
            self.end(request)
        found = [request.connection for request in requests]
        for connection in found:
            assert isinstance(connection, Connection)
            connection.looks = 0
        return [one for one in found if isinstance(one, Connection)]


def test_a_request_gets_the_connection_that_was_used_last_and_looks_at_few_others() -> None:
    pool = Pool(64)
    idle = pool.idle(48)
    request, closing = pool.start()
    assert request.connection is idle[-1]
    assert closing == pool.end(request) == []
    assert sum(connection.looks for connection in idle) <= 4, "two for the oldest one, one for the one that is used"


def test_a_connection_that_the_server_has_closed_is_replaced() -> None:
    pool = Pool(64)
    first, second, third = pool.idle(3)
    second.expired = third.expired = True
    request, closing = pool.start()
    assert request.connection is first
    assert closing == [third, second]
    first.expired = True
    pool.end(request)
    request, closing = pool.start()
    assert isinstance(request.connection, Connection)
    assert request.connection not in {first, second, third}


def test_a_connection_that_is_replaced_leaves_its_place() -> None:
    pool = Pool(1)
    [connection] = pool.idle(1)
    connection.expired = True
    request, closing = pool.start()
    assert closing == [connection]
    assert not request.is_queued()


def test_idle_connections_that_have_expired_are_closed_with_the_next_request() -> None:
    pool = Pool(64)
    idle = pool.idle(8)
    for connection in idle[:5]:
        connection.expired = True
    request, closing = pool.start()
    assert closing == idle[:5]
    assert request.connection is idle[-1]


def test_requests_wait_for_a_place_and_get_it_in_their_order() -> None:
    pool = Pool(2)
    running = [pool.start()[0] for _ in range(2)]
    waiting = [pool.start(origin)[0] for origin in (ONE, OTHER, ONE)]
    assert all(request.is_queued() for request in waiting)
    was = running[0].connection
    assert pool.end(running[0]) == []
    assert [request.connection for request in waiting] == [was, None, None]
    [closed] = pool.end(running[1])
    assert closed is running[1].connection, "it leads to another host than the request"
    assert isinstance(waiting[1].connection, Connection)
    assert waiting[1].connection.origin == OTHER
    assert waiting[2].is_queued()


def test_without_idle_connections_each_request_has_one_of_its_own() -> None:
    pool = Pool(2, kept=0)
    request, _ = pool.start()
    assert pool.end(request) == [request.connection]
    assert pool.start()[0].connection is not request.connection


def test_a_connection_that_is_closed_leaves_its_place() -> None:
    pool = Pool(1)
    request, _ = pool.start()
    assert isinstance(request.connection, Connection)
    request.connection.closed = True
    waiting, closing = pool.start()
    assert closing == []
    assert not waiting.is_queued()


@given(st.lists(st.tuples(st.sampled_from(["start", "end", "close", "expire"]), st.integers(0, 9), st.booleans())))
def test_a_pool_is_never_too_large_and_no_request_waits_without_need(steps: list[tuple[str, int, bool]]) -> None:
    pool, running = Pool(3, kept=2), list[Request]()
    for step, number, is_other in steps:
        chosen = running[number % len(running)] if running else None
        connection = chosen.connection if chosen is not None else None
        if step == "start":
            running.append(pool.start(OTHER if is_other else ONE)[0])
        elif chosen is None or not isinstance(connection, Connection):
            continue
        else:
            connection.closed, connection.expired = step == "close", step == "expire"
            pool.end(chosen)
            running.remove(chosen)
        served = [(request, request.connection) for request in running if request.connection is not None]
        assert [request for request, _ in served] == running[:3], "first come, first served"
        assert len({connection for _, connection in served}) == len(served), "one request on each connection"
        assert all(connection.can_handle_request(request.request.url.origin) for request, connection in served)
        assert len(pool.connections) <= 3
        assert sum(connection.is_idle() for connection in pool.connections) <= 2


async def test_the_transport_opens_as_many_connections_as_it_needs_at_once() -> None:
    async def answer(writer: asyncio.StreamWriter, body: Any) -> None:
        write_json(writer, body)

    async with raw_server(answer) as server, httpx.AsyncClient(transport=CheckedTransport()) as client:
        for number in range(3):
            requests = [client.post(server.url, json={"number": number, "request": one}) for one in range(5)]
            responses = await asyncio.gather(*requests)
            assert [response.json()["request"] for response in responses] == list(range(5))
        assert (server.connections, server.requests) == (5, 15)
