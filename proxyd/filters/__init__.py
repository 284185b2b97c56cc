"""Filters of the user's own, in Python: what such a filter is written with. The service that runs them is `proxyd.filters.service`.

    from proxyd.filters import Changes, Request, Response

    async def on_request(request: Request) -> Response | Changes | None:
        tenant = request.headers.get("x-tenant")
        if tenant is None:
            return Response(400, "which tenant?")
        return Changes(set={"X-Tenant-Id": tenant.lower()})
"""
from proxyd.filters.api import Changes, Headers, Request, Response, ResponseHead

__all__ = ["Changes", "Headers", "Request", "Response", "ResponseHead"]
