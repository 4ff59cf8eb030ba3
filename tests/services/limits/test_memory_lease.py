"""The lease on the memory of one request."""

from app.services.limits.memory_lease import MemoryLease


def test_a_lease_is_released_once_when_its_last_user_ends() -> None:
    released: list[bool] = []
    lease = MemoryLease(lambda: released.append(True))
    lease.keep()
    lease.end()
    assert not released
    lease.end()
    assert released == [True]


def test_a_user_after_the_end_does_not_release_it_again() -> None:
    released: list[bool] = []
    lease = MemoryLease(lambda: released.append(True))
    lease.end()
    lease.keep()
    lease.end()
    assert released == [True]
