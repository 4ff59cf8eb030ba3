"""Starting generations: the calls that cost money."""

from collections.abc import Callable

from app.domain.generation import Command
from app.domain.principal import Principal
from app.domain.record import submitted
from app.domain.task import Task
from app.ports import LumaGateway
from app.services.records import TaskRecords


class VideoService:
    """Submits a command once and remembers the task that it became."""

    def __init__(self, gateway: LumaGateway, records: TaskRecords, wall_clock: Callable[[], float]) -> None:
        """Submit through `gateway`; `wall_clock` gives unix seconds."""
        self._gateway = gateway
        self._records = records
        self._wall_clock = wall_clock

    async def start(self, principal: Principal, command: Command) -> Task:
        """Return the pending task. Raises LumaError where nothing was started, or where nobody can tell."""
        task_id = await self._gateway.submit(principal, command)
        record = submitted(task_id, self._wall_clock())
        await self._records.put_many(principal.tenant, [record])
        return record.task
