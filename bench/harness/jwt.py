"""The one token of the workload `jwt`: HS256 (RFC 7515), far from its end, as long as those with a handful of claims are."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

ISSUER = "https://id.bench.example"
AUDIENCE = "bench"
SECRET = hashlib.sha256(b"proxyd bench").hexdigest()  # of nothing that is worth a secret
EXPIRES = 4_102_444_800  # in the year 2100
TOKEN_BYTES = 800


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(size: int) -> str:
    """A token of about that many bytes."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "iat": 1_767_225_600, "exp": EXPIRES, "scope": "read write", "filling": ""}
    head = _part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    bare = len(head) + len(_part(json.dumps(claims).encode())) + 43 + 2
    claims["filling"] = "f" * ((size - bare) * 3 // 4)
    signed = f"{head}.{_part(json.dumps(claims).encode())}"
    return f"{signed}.{_part(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest())}"


TOKEN = token(TOKEN_BYTES)
