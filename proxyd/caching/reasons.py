"""Why an answer is not stored: the store's words as sentences, with the section that says so and what can be done about it."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    text: str          # a whole sentence without its end
    section: str       # "RFC 9111 §5.2.2.5"; "" where proxyd itself decides
    help: str          # what to do where it should be stored


REASONS: dict[str, Reason] = {
    "method": Reason("the request's method is not one whose answers are stored", "RFC 9111 §3", "only answers to GET are stored"),
    "status": Reason("the answer's status is not one that is stored", "RFC 9111 §3", ""),
    "partial": Reason("the answer is a part of a whole (206, 416, Content-Range)", "RFC 9111 §3.3", "only whole answers are stored"),
    "must-understand": Reason(
        "the server said `must-understand`, and the status is one that proxyd does not know", "RFC 9111 §5.2.2.3", ""),
    "request-no-store": Reason(
        "the request said `Cache-Control: no-store`", "RFC 9111 §5.2.1.5", "`client_directives: false` on the route obeys the server only"),
    "no-store": Reason(
        "the server said `Cache-Control: no-store`", "RFC 9111 §5.2.2.5",
        "let the server send `CDN-Cache-Control: max-age=...` (RFC 9213), which counts for proxyd and not for browsers"),
    "private": Reason(
        "the server said `Cache-Control: private`: the answer is for one user", "RFC 9111 §5.2.2.7",
        "if it is the same for all users, let the server send `CDN-Cache-Control: max-age=...` (RFC 9213)"),
    "authorization": Reason(
        "the request had an Authorization field, and the answer does not allow that it is shared", "RFC 9111 §3.5",
        "let the server say `public`, `s-maxage=...` or `must-revalidate`, if it is the same for all users"),
    "set-cookie": Reason(
        "the answer sets a cookie, which would be given to every client", "RFC 9111 §7.3",
        "do not set cookies on answers that are for all, or let the route store them without their Set-Cookie"),
    "vary": Reason(
        "the answer varies by what is not in the request (`Vary: *`), or by more than can be told apart", "RFC 9111 §4.1",
        "let the server name the few fields that it looks at"),
    "encoding": Reason(
        "the answer is in a coding that not every request would accept which would be given it", "RFC 9111 §4.1",
        "let the server say `Vary: Accept-Encoding` and use gzip, br or zstd, or none"),
    "vary-too-long": Reason(
        "the names that the answer varies by, or the request's values of them, are too long", "RFC 9111 §4.1",
        "let the server vary by less; a long Cookie or User-Agent is not what answers for many should vary by"),
    "varies-by-identity": Reason(
        "the answer varies by a field in which proxyd tells the server who asks", "RFC 9111 §4.1",
        "let the server say `private`, or leave that field out of Vary if the answer is the same for all users"),
    "no-freshness": Reason(
        "the answer does not tell how long it is fresh, and nothing may be assumed", "RFC 9111 §4.2",
        "let the server send `Cache-Control: max-age=...`, or set `ttl` on the route (`negative` for 404 and 410)"),
    "stale": Reason(
        "the answer was stale when it came and has neither ETag nor Last-Modified, so it could never be used", "RFC 9111 §4.2, §4.3",
        "let the server send a longer lifetime or a validator; behind another cache look at its Age field"),
    "too-large": Reason("the body is larger than what the route stores", "", "raise `max_object` on the route, or `cache.memory.size`"),
    "no-room": Reason("there was no room for it when it came: what is stored is in use", "", "raise `cache.memory.size`"),
    "body-broke-off": Reason("the answer did not come whole", "RFC 9111 §3.3", "look for errors of the server"),
    "purged-meanwhile": Reason("it was purged while it was being fetched", "", "the next answer is stored"),
}


def reason_of(word: str) -> Reason:
    """The store may have words that are not here: those stand for themselves."""
    return REASONS.get(word) or Reason(f"the store says: {word}", "", "")
