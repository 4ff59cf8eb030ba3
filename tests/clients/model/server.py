"""The HTTP server in front of the script."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.clients.model.anthropic import ANTHROPIC
from tests.clients.model.gemini import GEMINI
from tests.clients.model.model_api import stream
from tests.clients.model.openai_chat import OPENAI_CHAT
from tests.clients.model.openai_responses import OPENAI_RESPONSES
from tests.clients.model.script import Conversation, client_names, next_move

APIS = (ANTHROPIC, GEMINI, OPENAI_CHAT, OPENAI_RESPONSES)


class ScriptedModel:
    """Answers requests by the script, and keeps the longest conversation that showed our tools."""

    def __init__(self) -> None:
        self.url = ""
        self.paths: list[str] = []
        self.last: Conversation | None = None

    def answer(self, path: str, body: Mapping[str, Any]) -> tuple[str, bytes] | None:
        """Return the media type and the body of the answer, or None for a path of no known API."""
        self.paths.append(path)
        bare, _, query = path.partition("?")
        api = next((api for api in APIS if bare.endswith(api.path_suffix)), None)
        if api is None:
            return None
        seen = api.parse_request(body)
        if client_names(seen.tools) and (self.last is None or len(seen.results) >= len(self.last.results)):
            self.last = seen
        move = next_move(seen)
        if body.get("stream") or "alt=sse" in query:
            done = b"data: [DONE]\n\n" if api is OPENAI_CHAT else b""
            return "text/event-stream", stream(api.stream_events(move)) + done
        return "application/json", json.dumps(api.response(move)).encode()


@contextmanager
def scripted_model() -> Iterator[ScriptedModel]:
    """Serve a model on a free loopback port until the block ends."""
    model = ScriptedModel()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length", 0)))
            try:
                body = json.loads(sent)
            except ValueError:
                body = {}
            self._send(model.answer(self.path, body if isinstance(body, dict) else {}))

        def do_GET(self) -> None:
            model.paths.append(self.path)
            self._send(None)

        def _send(self, answer: tuple[str, bytes] | None) -> None:
            kind, content = answer or ("application/json", b'{"error": {"message": "There is nothing here."}}')
            self.send_response(200 if answer else 404)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            """Keep quiet: the paths are kept in the model."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    model.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
