"""Asks the user before a generation that costs more than the caller's team lets pass unasked.

The client is asked where it can take a question (MCP 2026-07-28): the answer to the call is the question, and the
client repeats the call with the user's response. The state of the question is sealed for the caller, so any replica
takes the response. Other clients are told to ask, and to repeat the call with `confirm`.
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
NAME = "confirm"
LIVES_SECONDS = 600.0
"""How long a question may stay unanswered."""

UNCONFIRMED = (
    "This video costs {price}, and the team has videos above {limit} confirmed by the user. Nothing was sent to "
    "{{backend}}. Ask the user; if they agree, repeat the call with confirm: true."
)
DECLINED = "The user did not agree to the cost of this video. Nothing was sent to {backend}. Do not submit it again."


class Confirmation:
    """Decides whether a generation may go on, has to be asked for, or is refused."""

    def __init__(self, backend: BackendDescription, sealer: Sealer, wall_clock: Callable[[], float]) -> None:
        """Ask by the price of `backend`, with states by `sealer`; `wall_clock` gives unix seconds."""
        self._backend = backend
        self._sealer = sealer
        self._wall_clock = wall_clock
        self._price = price_of_generation(backend.policy.price)

    def checked(self, call: Call, order: GenerationRequest, *, is_confirmed: bool) -> GenerationRequest:
        """Return the order that may be submitted.

        A confirmed one without an idempotency key gets one, so that a repeated response buys once. Raises InputNeeded
        where the client can ask, and Forbidden where it cannot, or where the user declined. A client that can ask is
        not believed when it merely says `confirm`.
        """
        limit = call.caller.principal.asks_above
        if limit is None or (self._price is not None and self._price.amount <= limit):
            return order
        if not call.round.can_ask:
            if is_confirmed:
                return order
            raise Forbidden(self._backend.say(UNCONFIRMED.format(price=self._said, limit=self._limit(limit))))
        number = self._asked(call, order)
        if number is None:
            raise self._question(call, order, limit)
        if not _is_accepted(call.round.responses.get(NAME)):
            raise Forbidden(self._backend.say(DECLINED))
        return order if order.idempotency_key is not None else replace(order, idempotency_key=f"confirm-{number}")

    @property
    def _said(self) -> str:
        return "an unknown price" if self._price is None else str(self._price)

    def _limit(self, limit: int) -> str:
        return str(Money(limit, self._price.unit if self._price is not None else ""))

    def _asked(self, call: Call, order: GenerationRequest) -> str | None:
        """Return the number of the question that this call answers; None if it answers none, or another one."""
        if call.round.state is None or NAME not in call.round.responses:
            return None
        state = self._sealer.unseal(PURPOSE, call.round.state, (call.caller.principal.subject,))
        if state is None or state["fingerprint"] != order.fingerprint:
            return None
        return str(state["number"]) if self._wall_clock() - state["at"] <= LIVES_SECONDS else None

    def _question(self, call: Call, order: GenerationRequest, limit: int) -> InputNeeded:
        state = {"number": secrets.token_hex(16), "fingerprint": order.fingerprint, "at": self._wall_clock()}
        sealed = self._sealer.seal(PURPOSE, state, call.caller.principal.subject)
        message = f"This video costs {self._said}. Your team has videos above {self._limit(limit)} confirmed. Start it?"
        answer = {"type": "boolean", "title": "Start this video", "default": False}
        schema = {"type": "object", "properties": {NAME: answer}, "required": [NAME]}
        params = {"mode": "form", "message": message, "requestedSchema": schema}
        return InputNeeded(NAME, {"method": "elicitation/create", "params": params}, sealed)


def _is_accepted(response: Any) -> bool:
    """Return whether the user agreed, in a response of any form."""
    content = response.get("content") if isinstance(response, Mapping) else None
    is_agreed = isinstance(content, Mapping) and content.get(NAME) is True
    return is_agreed and response.get("action") == "accept"
