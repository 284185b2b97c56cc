"""Which tenant is it? The first label of the host names one; the servers behind the proxy are told, and nobody else may say so.

    policies: {tenant: {python: filters/tenant.py}}
    routes:   [{match: "*.example.com/*", to: app, use: tenant}]
"""
from __future__ import annotations

from proxyd.filters import Changes, Request, Response, ResponseHead

PLANS = {"acme": "gold", "globex": "free"}


async def on_request(request: Request) -> Response | Changes:
    """Unknown tenants get an answer from here; for the others the server learns name and plan."""
    tenant = request.host.partition(".")[0]
    if tenant not in PLANS:
        return Response.json({"error": "unknown tenant", "request": request.id}, status=404)
    return Changes(set={"X-Tenant": tenant, "X-Plan": PLANS[tenant]})


async def on_response(request: Request, response: ResponseHead) -> Changes | None:
    """What tells about the servers does not go out."""
    leaking = [name for name in response.headers if name.startswith("x-internal-")]
    return Changes(remove=leaking) if leaking else None
