"""The review page's ES modules. They hold no data: whoever reaches the server may read them."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from app.components.page_script import MODULES, PATH, VERSION

HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",  # the address changes with the content
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


async def _script(request: Request) -> Response:
    """One module; 404 for another version's, lest a browser keep this one under that address."""
    content = MODULES.get(request.path_params["name"])
    if content is None or request.path_params["version"] != VERSION:
        return PlainTextResponse(
            "there is no such script in this version: load the page again",
            404,
            {"Cache-Control": "no-store"},
        )
    return Response(content, headers=HEADERS, media_type="text/javascript")


ROUTE: Final = Route(PATH.replace(VERSION, "{version}") + "{name:path}", _script)
