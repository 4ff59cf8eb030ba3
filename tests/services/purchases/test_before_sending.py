"""Failures between the record of a purchase and its submission: nothing was sent, and its key buys afterwards."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.domain.access import Credential, Principal
from app.domain.errors import InternalError, NothingSent
from app.domain.generation import GenerateVideo
from app.ports.auth import Caller
from app.services.purchases.service import GenerationRequest
from tests.support.clock import HandClock
from tests.support.service import Service, sandbox, serving, settings

WANTED = GenerationRequest(GenerateVideo("A fox"), "fingerprint", idempotency_key="fox-1")


class UnreadableCredentials:
    """The credentials of a team while the database does not answer."""

    async def all(self) -> Sequence[Credential]:
        raise InternalError("The database does not answer.", retry_after_seconds=5.0)

    async def one(self) -> Credential:
        raise InternalError("The database does not answer.", retry_after_seconds=5.0)


async def unreadable_principal() -> Principal | None:
    raise InternalError("The database does not answer.", retry_after_seconds=5.0)


async def accepted_caller(service: Service) -> Caller:
    caller = await service.assembly.authenticator.authenticate("token-a")
    assert caller is not None
    return caller


@pytest.mark.parametrize("unreadable", ["credentials", "principal"])
async def test_a_database_that_fails_before_the_submission_leaves_the_key_free(
    clock: HandClock, unreadable: str
) -> None:
    async with serving(settings(), sandbox(clock), clock) as service:
        caller = await accepted_caller(service)
        if unreadable == "credentials":
            failing = replace(caller, credentials=UnreadableCredentials())
        else:
            failing = replace(caller, current=unreadable_principal)
        with pytest.raises(NothingSent, match=r"nothing was charged") as caught:
            await service.assembly.videos.start(failing, WANTED)
        bought = await service.assembly.videos.start(caller, WANTED)
        listed = await service.ask("luma_list_tasks", {"state": "started"}, token="token-a")
    assert caught.value.retry_after_seconds == 5.0
    assert not bought.replayed
    assert [task["task_id"] for task in listed["tasks"]] == [bought.task_id]
