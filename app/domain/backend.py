"""The description of a backend: name, capabilities and policy, which fill the templates of messages."""

from dataclasses import dataclass
from typing import TypeVar

from app.domain.errors import InvalidRequest, LumaError
from app.domain.freshness import PollingPolicy
from app.domain.generation import AspectRatio, Command, GenerateVideo

E = TypeVar("E", bound=LumaError)


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one generation, in hundredths of a unit such as "credits"."""

    hundredths: int
    unit: str

    def __str__(self) -> str:
        return f"{round(self.hundredths / 100, 1):g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The capabilities of a backend.

    Attributes:
        aspect_ratios: the aspect ratios accepted for a new video.
        calls_back: whether the backend POSTs to a callback URL when a task ends.

    """

    aspect_ratios: tuple[AspectRatio, ...]
    calls_back: bool


@dataclass(frozen=True, slots=True)
class BackendPolicy:
    """The limits, durations and prices of a backend.

    Attributes:
        polling: expected duration of a generation, and intervals between reads.
        duration: expected duration of a generation, in words, for the texts of tools.
        link_life_seconds: time for which a result URL works after the end of its task.
        generations_at_once: number of generations that one token may run concurrently.
        price: usual price of a generation.

    """

    polling: PollingPolicy
    duration: str
    link_life_seconds: float
    generations_at_once: int
    price: Price


@dataclass(frozen=True, slots=True)
class BackendDescription:
    """The facts about a backend that the rest of the program uses.

    Attributes:
        name: name of the backend in sentences.
        account_url: page on which users create tokens and top up their accounts.
        address: base URL of its API, which is part of the keys in Redis; None for the sandbox.

    """

    name: str
    account_url: str
    address: str | None
    capabilities: Capabilities
    policy: BackendPolicy

    def say(self, template: str) -> str:
        """Return `template` with its fields replaced by the name and facts of this backend."""
        policy = self.policy
        return template.format(
            backend=self.name,
            account_url=self.account_url,
            generations_at_once=policy.generations_at_once,
            price=policy.price,
            duration=policy.duration,
            link_days=_days(policy.link_life_seconds),
        )

    def error(self, kind: type[E], *, retry_after_seconds: float | None = None) -> E:
        """Return an error of class `kind` with its usual sentence about this backend."""
        return kind(self.say(kind.template), retry_after_seconds=retry_after_seconds)

    def check(self, command: Command) -> None:
        """Raise InvalidRequest if this backend does not support `command`."""
        ratios = self.capabilities.aspect_ratios
        if isinstance(command, GenerateVideo) and command.aspect_ratio not in ratios:
            raise InvalidRequest(
                f"{self.name} does not support `aspect_ratio` {command.aspect_ratio}. Use one of {', '.join(ratios)}."
            )


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:g}"
