"""The MCP prompts, which a person picks in the client, and the completion of their arguments."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CompleteRequestParams,
    Completion,
    GetPromptRequestParams,
    GetPromptResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    PromptReference,
    TextContent,
)

from app.domain.backend import BackendDescription
from app.domain.generation import ASPECT_RATIOS
from app.mcp_server.reference import generation_guide, prompt_suggestions, workflow_examples


@dataclass(frozen=True, slots=True)
class _LumaPrompt:
    """A prompt as prompts/list shows it, and a function that returns its text for the backend and the arguments."""

    published: Prompt
    text_for: Callable[[BackendDescription, Mapping[str, str]], str]


_PROMPTS: tuple[_LumaPrompt, ...] = (
    _LumaPrompt(
        Prompt(
            name="luma_video_generation_guide",
            title="How to make a video",
            description="Which tool to use, how to write a prompt, and how to follow a generation.",
        ),
        lambda backend, _: generation_guide(backend),
    ),
    _LumaPrompt(
        Prompt(
            name="luma_workflow_examples",
            title="Workflow examples",
            description="Sequences of calls for one video, many videos, a longer story, and failures.",
        ),
        lambda backend, _: workflow_examples(backend),
    ),
    _LumaPrompt(
        Prompt(
            name="luma_prompt_suggestions",
            title="Prompt suggestions",
            description="Asks the model for five video prompts to choose from.",
            arguments=[
                PromptArgument(name="subject", description="What the videos are about; open if left out."),
                PromptArgument(name="aspect_ratio", description="The frame to compose for; open if left out."),
            ],
        ),
        lambda _, arguments: prompt_suggestions(arguments.get("subject"), arguments.get("aspect_ratio")),
    ),
)

PROMPTS: tuple[Prompt, ...] = tuple(prompt.published for prompt in _PROMPTS)
_BY_NAME = {prompt.published.name: prompt for prompt in _PROMPTS}


def get_prompt(params: GetPromptRequestParams, backend: BackendDescription) -> GetPromptResult:
    """Return a prompt as a message of the user. Raises MCPError -32602 for an unknown name, argument or value."""
    prompt = _BY_NAME.get(params.name)
    if prompt is None:
        raise MCPError(INVALID_PARAMS, f"There is no such prompt; the prompts are {', '.join(_BY_NAME)}.")
    arguments = params.arguments or {}
    argument_names = [argument.name for argument in prompt.published.arguments or []]
    if set(arguments) - set(argument_names):
        raise MCPError(INVALID_PARAMS, f"{params.name} takes {', '.join(argument_names) or 'no arguments'}.")
    if arguments.get("aspect_ratio") and arguments["aspect_ratio"] not in ASPECT_RATIOS:
        raise MCPError(INVALID_PARAMS, f"aspect_ratio must be one of {', '.join(ASPECT_RATIOS)}.")
    message = PromptMessage(role="user", content=TextContent(text=prompt.text_for(backend, arguments)))
    return GetPromptResult(description=prompt.published.description, messages=[message])


def complete(params: CompleteRequestParams) -> Completion:
    """Return the aspect ratios that begin with the argument's value; nothing for other arguments and prompts."""
    reference, argument = params.ref, params.argument
    takes_ratio = isinstance(reference, PromptReference) and reference.name == "luma_prompt_suggestions"
    if not takes_ratio or argument.name != "aspect_ratio":
        return Completion(values=[], total=0, has_more=False)
    values = [ratio for ratio in ASPECT_RATIOS if ratio.startswith(argument.value)]
    return Completion(values=values, total=len(values), has_more=False)
