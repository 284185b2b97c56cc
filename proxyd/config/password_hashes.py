"""Hashes of passwords, as `htpasswd` and the argon2 libraries write them. What is weak or could be made to cost without bound is refused
when the config is loaded, so that checking a password never fails for its form.

argon2id: RFC 9106, PHC string. bcrypt: `$2b$`, `$2y$` (Apache) and `$2a$`.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import PlainValidator, WithJsonSchema

from proxyd.config.base import STRING
from proxyd.config.text import as_text
from proxyd.diagnostics.fail import fail
from proxyd.diagnostics.nodes import SecretText

ARGON2_MEMORY_MAX = 256 * 1024  # KiB
ARGON2_WORK_MAX = 1024 * 1024  # KiB: memory times passes, about a second
BCRYPT_COST_MAX = 14  # about a second, too
_ARGON2 = re.compile(
    r"\$argon2id\$v=19\$m=(?P<m>[1-9][0-9]{0,9}),t=(?P<t>[1-9][0-9]{0,9}),p=(?P<p>[1-9][0-9]{0,7})"
    r"\$(?P<salt>[A-Za-z0-9+/]{11,86})\$(?P<tag>[A-Za-z0-9+/]{22,172})\Z"
)
_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{53}\Z")
_HOW = "make one with `htpasswd -nB NAME` (bcrypt), or with argon2-cffi: `PasswordHasher().hash(PASSWORD)`"
_WEAK = (
    (r"\{SHA\}", "SHA-1 without a salt"),
    (r"\{SSHA\}", "SHA-1"),
    (r"\$(apr)?1\$", "MD5"),
    (r"\$[56]\$", "crypt's SHA-2, which graphics cards break fast"),
    (r"\$argon2[id]\$", "a variant of Argon2 other than argon2id"),
    (r"\$argon2id\$", "an argon2id hash that is broken, or not of version 19 with salt and tag of usual lengths"),
    (r"\$2", "a bcrypt hash that is broken"),
)


def check_hash(value: object) -> SecretText:
    """Messages never hold the text: it may be the password itself."""
    text = as_text(value).strip()
    argon2, bcrypt = _ARGON2.match(text), _BCRYPT.match(text)
    if argon2:
        _bound_argon2(int(argon2["m"]), int(argon2["t"]), int(argon2["p"]))
        if len(argon2["salt"]) % 4 == 1 or len(argon2["tag"]) % 4 == 1:  # no base64 is so long
            raise fail("PXD-086", "the hash is an argon2id hash that is broken", _HOW)
    elif bcrypt:
        if not 4 <= int(bcrypt["cost"]) <= BCRYPT_COST_MAX:
            help = f"allowed: 4 to {BCRYPT_COST_MAX}; usual: 10 to 12"
            raise fail("PXD-086", f"the bcrypt hash has a cost of {int(bcrypt['cost'])}", help)
    else:
        weak = next((words for pattern, words in _WEAK if re.match(pattern, text)), "")
        raise fail("PXD-086", f"the hash is {weak}" if weak else "the text is not the hash of a password", _HOW)
    return SecretText(text)


def _bound_argon2(memory: int, passes: int, lanes: int) -> None:
    """Each check takes so much, and whoever knows a name can ask for one."""
    if memory > ARGON2_MEMORY_MAX:
        help = f"allowed: m up to {ARGON2_MEMORY_MAX} (256 MiB); usual: 19456 to 65536"
        raise fail("PXD-086", f"the argon2id hash takes {memory // 1024} MiB of memory for each check", help)
    if memory * passes > ARGON2_WORK_MAX:
        help = f"allowed: m times t up to {ARGON2_WORK_MAX}; usual: m=65536, t=3"
        raise fail("PXD-086", "the argon2id hash takes too long to check", help)
    if lanes > 16 or memory < 8 * lanes:  # RFC 9106 §3.1
        raise fail("PXD-086", "the argon2id hash has lanes (p) that do not fit its memory", "allowed: p up to 16, m at least 8 times p")


PasswordHash = Annotated[str, PlainValidator(check_hash), WithJsonSchema(STRING)]
