"""Serves the files of the sandbox's tasks: the same short clip and thumbnail for every task."""

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

FOLDER = Path(__file__).parent / "media"
CLIP = FOLDER / "clip.mp4"
THUMBNAIL = FOLDER / "thumbnail.jpg"

CACHE_CONTROL = "public, max-age=3600"


def media_routes(path: str, is_gone: Callable[[str], bool] = lambda _: False) -> list[Route]:
    """Return routes for GET and HEAD of {path}/{name}.mp4 and {path}/{name}.jpg, with any name.

    The response is 404 for names for which `is_gone` returns True. `Sandbox.media_is_gone` is meant for this parameter.
    """
    return [
        Route(f"{path}/{{name}}.mp4", _file(CLIP, "video/mp4", is_gone)),
        Route(f"{path}/{{name}}.jpg", _file(THUMBNAIL, "image/jpeg", is_gone)),
    ]


def _file(path: Path, media_type: str, is_gone: Callable[[str], bool]) -> Callable[[Request], Awaitable[Response]]:
    stat = path.stat()
    # The ETag is a hash of the content, because time stamps of the same file differ between machines.
    tag = f'"{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": CACHE_CONTROL}

    async def respond(request: Request) -> Response:
        if is_gone(request.path_params["name"]):
            return PlainTextResponse("This file is no longer kept.", 404)
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return FileResponse(path, headers=headers, media_type=media_type, stat_result=stat)

    return respond
