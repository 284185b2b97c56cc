"""Stub: the lead's."""
import itertools
_ids = itertools.count(1)


class Consumer:
    def __init__(self, name):
        self.name = name
        self._usage = (0, 0)

    def usage(self):
        return self._usage

    def set_usage(self, period, used):
        self._usage = (period, used)


class Verdict:
    def __init__(self, *, allow, user="", lines=b"", attributes=None, plan=-1, consumer=None, status=401, head=b"", body=b""):
        self.allow, self.user, self.lines, self.attributes, self.plan, self.consumer = allow, user, lines, dict(attributes or {}), plan, consumer
        self.status, self.head, self.body = status, head, body


class Verdicts:
    def __init__(self, name, *, capacity=100_000):
        self.name, self.id, self.held, self._counts = name, next(_ids), {}, {}

    def put(self, digest, verdict, ttl_ms):
        self.held[digest] = verdict

    def forget(self, digest):
        return self.held.pop(digest, None) is not None

    def clear(self):
        n = len(self.held)
        self.held.clear()
        return n

    def stats(self):
        return {"entries": len(self.held)}

    def count(self, result):
        pass
