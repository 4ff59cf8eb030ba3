"""Asks the user before a generation whose price is above the threshold of the caller's team.

If the client supports elicitation (MCP 2026-07-28), the result of the call is a question, and the client repeats the
call with the user's response. The state of the question is sealed for the caller, so any replica can process the
response. For other clients, the call fails with an error that asks the model to repeat it with `confirm`.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from app.domain.backend import BackendDescription
from app.domain.errors import Forbidden
from app.domain.money import Money, price_of_generation
from app.mcp_server.tools.definition import Call, InputNeeded
from app.ports.sealing import Sealer
from app.services.purchases.service import GenerationRequest

PURPOSE = "confirm"
"""The purpose for which the states of questions are sealed."""

NAME = "confirm"
"""The name of the question, and of the field in its form."""

QUESTION_SECONDS = 600.0
"""A response that comes later is ignored, and the question is asked again."""

UNCONFIRMED = (
    "This video costs {price}, and the team requires the user's confirmation above {limit}. Nothing was sent to "
    "{{backend}}. Ask the user; if they agree, repeat the call with confirm: true."
)
DECLINED = "The user did not agree to the cost of this video. Nothing was sent to {backend}. Do not submit it again."


class Confirmation:
    """Decides whether a generation may be submitted, must be confirmed first, or is refused."""

    def __init__(self, backend: BackendDescription, sealer: Sealer, wall_clock: Callable[[], float]) -> None:
        """Compare thresholds with the price of `backend`. `sealer` seals the states of questions.

        `wall_clock` returns unix seconds.
        """
        self._backend = backend
        self._sealer = sealer
        self._wall_clock = wall_clock
        self._price = price_of_generation(backend.policy.price)

    def require(self, call: Call, request: GenerationRequest, *, is_confirmed: bool) -> GenerationRequest:
        """Return the request to submit. Raises InputNeeded or Forbidden if it must not be submitted now.

        A request confirmed by elicitation gets an idempotency key if it has none, so that a repeated response buys
        once. InputNeeded is raised if the client supports elicitation and the user has not responded; the argument
        `confirm` (`is_confirmed`) does not count then. Forbidden is raised if another client has not set `confirm`, or
        if the user declined.
        """
        limit = call.caller.principal.asks_above
        if limit is None or (self._price is not None and self._price.amount <= limit):
            return request
        if not call.round.can_ask:
            if is_confirmed:
                return request
            raise Forbidden(
                self._backend.say(UNCONFIRMED.format(price=self._price_text, limit=self._limit_text(limit)))
            )
        question_id = self._answered_question(call, request)
        if question_id is None:
            raise self._question(call, request, limit)
        if not _is_accepted(call.round.responses.get(NAME)):
            raise Forbidden(self._backend.say(DECLINED))
        if request.idempotency_key is not None:
            return request
        return replace(request, idempotency_key=f"confirm-{question_id}")

    @property
    def _price_text(self) -> str:
        return "an unknown price" if self._price is None else str(self._price)

    def _limit_text(self, limit: int) -> str:
        return str(Money(limit, self._price.unit if self._price is not None else ""))

    def _answered_question(self, call: Call, request: GenerationRequest) -> str | None:
        """Return the random id of the question to which this call responds.

        None if the call has no response, or one that is late, or for another generation or idempotency key.
        """
        if call.round.state is None or NAME not in call.round.responses:
            return None
        state = self._sealer.unseal(PURPOSE, call.round.state, (call.caller.principal.subject,))
        if state is None or [state["fingerprint"], state["key"]] != [request.fingerprint, request.idempotency_key]:
            return None
        return str(state["number"]) if self._wall_clock() - state["at"] <= QUESTION_SECONDS else None

    def _question(self, call: Call, request: GenerationRequest, limit: int) -> InputNeeded:
        state = {
            "number": secrets.token_hex(16),
            "fingerprint": request.fingerprint,
            "key": request.idempotency_key,
            "at": self._wall_clock(),
        }
        sealed = self._sealer.seal(PURPOSE, state, call.caller.principal.subject)
        price, threshold = self._price_text, self._limit_text(limit)
        message = f"This video costs {price}. Your team requires confirmation above {threshold}. Start this video?"
        answer = {"type": "boolean", "title": "Start this video", "default": False}
        schema = {"type": "object", "properties": {NAME: answer}, "required": [NAME]}
        params = {"mode": "form", "message": message, "requestedSchema": schema}
        return InputNeeded(NAME, {"method": "elicitation/create", "params": params}, sealed)


def _is_accepted(response: Any) -> bool:
    """Return whether the user agreed. `response` comes from the client and may have any form."""
    content = response.get("content") if isinstance(response, Mapping) else None
    is_agreed = isinstance(content, Mapping) and content.get(NAME) is True
    return is_agreed and response.get("action") == "accept"
