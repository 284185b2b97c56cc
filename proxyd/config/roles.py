"""Checks that ask a database whether it is a primary or a replica."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from proxyd.config.auth_keys import WrittenSecret
from proxyd.config.base import Model
from proxyd.config.script import check_bytes
from proxyd.config.text import Text
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.nodes import SecretText

ROLES = ("primary", "replica", "any")
Role = Literal["primary", "replica", "any"]


def check_login(text: str) -> str:
    if not text or len(text) > 1000 or "\0" in text:
        raise fail("PXD-038", f"{shown(text)} cannot be the name of a user or a database")
    return check_bytes(text)


def check_password(text: str) -> SecretText:
    """Whoever prints the config prints `***`, also for one that stands in the file."""
    if not text or len(text) > 4096 or "\0" in text:
        raise fail("PXD-038", "this cannot be a password: it is empty, longer than 4096 characters, or holds NUL")
    check_bytes(text)
    return text if isinstance(text, SecretText) else WrittenSecret(text)


Login = Annotated[Text, AfterValidator(check_login)]
Password = Annotated[Text, AfterValidator(check_password)]


class RedisRole(Model):
    role: Role = Field(
        description="What the server must be; a replica passes with its link to the primary up, `any` with either role.",
        examples=["primary"],
    )
    user: Login | None = Field(None, description="Name to log in with; unset: the default user.", examples=["health"])
    password: Password | None = Field(
        None, description="Password to log in with; without it and `user`: no log-in.", examples=["${file:/run/secrets/redis}"]
    )


class PostgresRole(Model):
    role: Role = Field(description="What the server must be; `any` passes with either role.", examples=["primary"])
    user: Login = Field(description="Name to log in with; no rights are needed.", examples=["health"])
    database: Login = Field("postgres", description="Database to log in to.")
    password: Password | None = Field(
        None, description="Sent as the server asks for it: SCRAM-SHA-256, MD5 or as it stands.", examples=["${file:/run/secrets/postgres}"]
    )


def expand_redis(value: object) -> object:
    """A word is the role."""
    return {"role": value} if isinstance(value, str) else value
