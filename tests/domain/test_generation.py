"""Commands: validation on creation, and reprs without prompts and URLs."""

from typing import Any

import pytest

from app.domain.errors import InvalidRequest
from app.domain.generation import ASPECT_RATIOS, MAX_PROMPT_LENGTH, Command, ExtendVideo, GenerateVideo

URL = "https://cdn.example.com/secret.mp4"


def test_the_default_ratio_is_one_of_the_seven() -> None:
    assert GenerateVideo("A fox").aspect_ratio in ASPECT_RATIOS
    assert len(set(ASPECT_RATIOS)) == 7


@pytest.mark.parametrize("prompt", ["", " ", "\n\t ", "\u3000", "x" * (MAX_PROMPT_LENGTH + 1)])
def test_an_empty_or_too_long_prompt_is_refused(prompt: str) -> None:
    with pytest.raises(InvalidRequest, match="prompt"):
        GenerateVideo(prompt)
    with pytest.raises(InvalidRequest, match="prompt"):
        ExtendVideo(prompt, video_id="v")


@pytest.mark.parametrize("prompt", ["x", "x" * MAX_PROMPT_LENGTH, " ein Fuchs ", "狐"])
def test_a_prompt_is_not_changed(prompt: str) -> None:
    assert GenerateVideo(prompt).prompt == prompt
    assert ExtendVideo(prompt, video_id="v").prompt == prompt


@pytest.mark.parametrize("source", [{}, {"video_id": "v", "video_url": URL}])
def test_an_extension_names_exactly_one_video(source: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="id or its URL"):
        ExtendVideo("On", **source)


@pytest.mark.parametrize("source", [{"video_id": "v"}, {"video_url": URL}])
def test_an_extension_of_one_video_is_valid(source: dict[str, Any]) -> None:
    command = ExtendVideo("On", **source)
    assert {"video_id": command.video_id, "video_url": command.video_url} == {
        "video_id": None,
        "video_url": None,
    } | source


@pytest.mark.parametrize(
    "command",
    [
        GenerateVideo("secret words", start_image_url=URL, end_image_url=URL, callback_url=URL),
        ExtendVideo("secret words", video_url=URL, end_image_url=URL),
    ],
)
def test_the_repr_of_a_command_shows_neither_text_nor_links(command: Command) -> None:
    assert "secret" not in repr(command)
