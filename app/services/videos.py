"""Starting generations: the calls that cost money."""

from collections.abc import Callable

from app.domain.generation import Command
from app.domain.principal import Principal
from app.domain.task import Task, TaskState
from app.ports import LumaGateway
from app.services.submissions import Submissions


class VideoService:
    """Submits a command once and remembers the task that it became."""

    def __init__(self, gateway: LumaGateway, submissions: Submissions, wall_clock: Callable[[], float]) -> None:
        """Submit through `gateway`; `wall_clock` gives unix seconds."""
        self._gateway = gateway
        self._submissions = submissions
        self._wall_clock = wall_clock

    async def start(self, principal: Principal, command: Command) -> Task:
        """Return the pending task. Raises LumaError where nothing was started, or where nobody can tell."""
        task_id = await self._gateway.submit(principal, command)
        await self._submissions.remember(principal.tenant, task_id)
        return Task(task_id, TaskState.PENDING, created_at=self._wall_clock())
