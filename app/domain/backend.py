"""What a backend is, as a value: its name, its abilities and its rules. Sentences and schedules are filled from it."""

from dataclasses import dataclass
from typing import TypeVar

from app.domain.errors import InvalidRequest, LumaError
from app.domain.freshness import PollingPolicy
from app.domain.generation import AspectRatio, Command, GenerateVideo

E = TypeVar("E", bound=LumaError)


@dataclass(frozen=True, slots=True)
class Price:
    """What one generation costs, in hundredths of a unit such as "credits"."""

    hundredths: int
    unit: str

    def __str__(self) -> str:
        return f"{round(self.hundredths / 100, 1):g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend can do.

    Attributes:
        aspect_ratios: those that it accepts for a new video.
        calls_back: whether it POSTs to a callback URL when a task ends.

    """

    aspect_ratios: tuple[AspectRatio, ...]
    calls_back: bool


@dataclass(frozen=True, slots=True)
class BackendPolicy:
    """The rules of a backend.

    Attributes:
        pace: how long a generation takes, and how often to read it.
        duration: how long a generation takes, in words for a reader.
        link_life_seconds: how long a result URL works after the end of its task.
        generations_at_once: how many one token may have under way.
        price: what a generation costs as a rule.

    """

    polling: PollingPolicy
    duration: str
    link_life_seconds: float
    generations_at_once: int
    price: Price


@dataclass(frozen=True, slots=True)
class BackendDescription:
    """A backend as the rest of the program knows it.

    Attributes:
        name: as sentences name it.
        account_url: where its users make tokens and top up their accounts.
        address: the base URL of its API, which tells its task ids from those of another; None for the sandbox.

    """

    name: str
    account_url: str
    address: str | None
    capabilities: Capabilities
    policy: BackendPolicy

    def say(self, template: str) -> str:
        """Return `template` with this backend's name and facts in the place of the fields that it names."""
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
        """Return the error with its usual sentence, about this backend."""
        return kind(self.say(kind.template), retry_after_seconds=retry_after_seconds)

    def check(self, command: Command) -> None:
        """Raise InvalidRequest for a command that this backend cannot carry out."""
        ratios = self.capabilities.aspect_ratios
        if isinstance(command, GenerateVideo) and command.aspect_ratio not in ratios:
            raise InvalidRequest(
                f"{self.name} makes no videos of `aspect_ratio` {command.aspect_ratio}. Use one of {', '.join(ratios)}."
            )


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:g}"
