"""The dashboard's files at `/` and below `/ui/`. They hold no facts, so they are for everybody who may ask this address at all."""
from __future__ import annotations

from aiohttp import hdrs, web

from proxyd.dashboard.files import INDEX, File, all_files

POLICY = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'", "base-uri 'none'",
    "form-action 'self'", "frame-ancestors 'none'",
))
"""Content-Security-Policy: nothing from elsewhere, nothing inline, in no frame."""
FIELDS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",           # kept, and asked about every time: a new version of proxyd has new files
}


def add_pages(application: web.Application) -> None:
    for path in ("/", "/ui", "/ui/"):
        application.router.add_get(path, index)
    application.router.add_get("/ui/{name:.+}", one)


async def index(request: web.Request) -> web.Response:
    return _answer(request, all_files()[INDEX])


async def one(request: web.Request) -> web.Response:
    file = all_files().get(request.match_info["name"])
    if file is None:
        raise web.HTTPNotFound
    return _answer(request, file)


def _answer(request: web.Request, file: File) -> web.Response:
    fields = FIELDS | {"ETag": file.etag}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get(hdrs.IF_NONE_MATCH, "").split(",")]
    if file.etag in known:
        return web.Response(status=304, headers=fields)
    return web.Response(body=file.body, headers=fields | {"Content-Type": file.content_type})
