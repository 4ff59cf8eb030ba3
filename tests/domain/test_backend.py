"""BackendDescription: sentences of errors, prices, and checks of commands."""

import inspect

import pytest

from app.domain import errors
from app.domain.backend import Price
from app.domain.errors import InvalidRequest, LumaError, RateLimited
from app.domain.generation import ExtendVideo, GenerateVideo
from tests.support.backends import Studio

STUDIO = Studio.description
KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, LumaError)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not LumaError])
def test_error_fills_the_template_of_every_error(kind: type[LumaError]) -> None:
    error = STUDIO.error(kind, retry_after_seconds=3.0)
    assert type(error) is kind
    assert "{" not in str(error)
    assert error.retry_after_seconds == 3.0


def test_error_names_the_backend_and_its_limits() -> None:
    assert "Studio One's limit for this token is reached (2 generations at once)" in str(STUDIO.error(RateLimited))


@pytest.mark.parametrize(("hundredths", "words"), [(119, "1.2 credits"), (40, "0.4 credits"), (4000, "40 credits")])
def test_a_price_is_rounded_to_a_tenth(hundredths: int, words: str) -> None:
    assert str(Price(hundredths, "credits")) == words


def test_check_raises_for_an_unsupported_aspect_ratio() -> None:
    STUDIO.check(GenerateVideo("A fox", aspect_ratio="9:16"))
    STUDIO.check(ExtendVideo("A fox", video_id="v"))
    with pytest.raises(InvalidRequest, match="16:9, 9:16"):
        STUDIO.check(GenerateVideo("A fox", aspect_ratio="21:9"))
