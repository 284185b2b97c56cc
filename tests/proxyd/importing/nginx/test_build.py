"""Whole files of nginx's: what comes out passes `check`, and says what it must."""
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxyd.config import Config, load_text
from proxyd.importing.nginx.build import Imported, import_nginx
from proxyd.importing.nginx.tree import NotRead


def imported(folder: Path, text: str) -> Imported:
    (folder / "nginx.conf").write_text(text)
    return import_nginx(folder / "nginx.conf")


def loaded(folder: Path, text: str) -> tuple[Config, Imported]:
    found = imported(folder, text)
    result = load_text(found.text, folder=str(folder))
    assert result.config is not None, f"{result.errors}\n{found.text}"
    return result.config, found


def http(text: str) -> str:
    return f"events {{}}\nhttp {{\n{text}\n}}\n"


def told(found: Imported, kind: str) -> list[tuple[int, str]]:
    return [(one.origin.line, one.origin.text.split()[0]) for one in found.report.findings if one.kind == kind]


SHOP = """
user www-data;
worker_processes auto;
events { worker_connections 1024; }
http {
  sendfile on;
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  limit_req_zone $binary_remote_addr zone=perip:10m rate=10r/s;
  limit_conn_zone $server_name zone=perhost:10m;
  proxy_cache_path /var/cache/nginx levels=1:2 keys_zone=static:10m max_size=1g inactive=60m;
  upstream app {
    least_conn;
    server 10.0.0.1:8000 weight=3 max_fails=3 fail_timeout=30s;
    server 10.0.0.2:8000 max_conns=100;
    server unix:/run/app.sock backup;
    keepalive 32;
  }
  proxy_set_header Host $host;
  include conf.d/*.conf;
  gzip on;
}
"""
SITE = """
server {
  listen 80; listen [::]:80;
  server_name shop.example.com;
  client_max_body_size 20m;
  error_page 502 503 /50x.html;
  location = /50x.html { root .; internal; }
  location / { proxy_pass http://app; }
  location /api/ {
    limit_req zone=perip burst=20 nodelay;
    limit_conn perhost 10;
    proxy_pass http://app/v2/;
    proxy_read_timeout 120s;
    proxy_next_upstream error timeout http_503;
    proxy_next_upstream_tries 2;
  }
  location ~* \\.(png|css)$ {
    proxy_cache static;
    proxy_cache_valid 200 1h;
    proxy_cache_valid 404 1m;
    proxy_cache_use_stale error updating;
    proxy_cache_lock on;
    proxy_cache_bypass $cookie_session;
    proxy_no_cache $cookie_session;
    proxy_pass http://app;
  }
  location /ws { proxy_pass http://app; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade; }
  location /admin/ { allow 10.0.0.0/8; deny all; proxy_pass http://app; client_max_body_size 1m; }
}
"""


def test_a_shop(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "shop.conf").write_text(SITE)
    (tmp_path / "50x.html").write_text("<h1>Back soon</h1>")
    config, found = loaded(tmp_path, SHOP)
    assert [str(bind) for bind in config.listeners["http"].bind] == [":80"]
    app = config.upstreams["app"]
    assert [(str(server.address), server.weight, server.max_requests, server.backup) for server in app.servers] == [
        ("10.0.0.1:8000", 3, 0, False), ("10.0.0.2:8000", 1, 100, False), ("unix:/run/app.sock", 1, 0, True),
    ]
    assert (app.balance.kind, app.pool.max) == ("least_conn", 32)
    routes = {str(route.match): route for route in config.routes_of(config.listeners["http"])}
    assert list(routes) == ["/50x.html", "/api", "/admin", r"~(?i)\.(png|css)$", "/admin/*", "/api/*", "/ws*", "/*"]
    api = routes["/api/*"]
    assert api.rewrite is not None
    assert api.rewrite.replace_prefix is not None
    assert (api.rewrite.replace_prefix.old, api.rewrite.replace_prefix.new) == ("/api", "/v2")
    assert str(api.timeout.first_byte) == "2m"
    assert api.retry is not None
    assert (api.retry.attempts, [str(word) for word in api.retry.when]) == (1, ["connect_failure", "reset", "timeout", "503"])
    limit = config.policies[api.use[0]].rate_limit
    assert limit is not None
    assert (str(limit.rate), limit.burst, limit.mode, limit.on_limit.status) == ("10/s", 20, "refuse", 503)
    places = config.policies[api.use[1]].concurrency
    assert places is not None
    assert (places.max, places.key) == (10, ("host",))
    cached = routes[r"~(?i)\.(png|css)$"].cache
    assert cached is not None
    assert str(cached.ttl.default) == "1h"
    assert cached.negative is not None
    assert str(cached.negative.ttl) == "1m"
    assert set(api.error_pages)
    assert next(iter(api.error_pages.values())).content == b"<h1>Back soon</h1>"
    admin = [config.policies[name] for name in routes["/admin/*"].use]
    assert [str(policy.request.body_size) for policy in admin if policy.request] == ["1MiB"]
    assert [policy.access.allow for policy in admin if policy.access] == [("10.0.0.0/8",)]
    assert set(told(found, "left out")) == {(20, "gzip")}


def test_what_stands_where_is_said(tmp_path: Path) -> None:
    text = http("upstream a { server 127.0.0.1:1; }\nserver {\n  location /x { proxy_pass http://a; }\n}")
    assert "# nginx.conf:5 location /x" in imported(tmp_path, text).text


def test_an_include_that_is_missing_is_told_in_words(tmp_path: Path) -> None:
    found = imported(tmp_path, http("include mime.types;\nserver { location / { proxy_pass http://127.0.0.1:1; } }"))
    [told] = [str(one) for one in found.report.of("left out")]
    assert told.startswith("nginx.conf:3 nginx's syntax: No such file or directory: ")
    assert "mime.types" in told


@pytest.mark.parametrize(
    ("inside", "line"),
    [
        ("location / { fastcgi_pass 127.0.0.1:9000; }", "not imported"),
        ("location / { proxy_pass https://127.0.0.1:1; }", "not imported"),
        ("location / { proxy_pass http://$unknown; }", "not imported"),
        ("location / { root /srv; }", "not imported"),
        ("location /a { auth_basic x; auth_basic_user_file /nonexistent; proxy_pass http://127.0.0.1:1; }", "deny: all"),
        ("location /a { auth_request /who; proxy_pass http://127.0.0.1:1; }", "deny: all"),
        ("location /a { auth_jwt realm; proxy_pass http://127.0.0.1:1; }", "deny: all"),
        ("location /a { limit_except GET { allow 10.0.0.0/8; deny all; } proxy_pass http://127.0.0.1:1; }", "deny: all"),
        ("location /a { if ($geo) { return 403; } proxy_pass http://127.0.0.1:1; }", "to: 127.0.0.1-1"),
    ],
)
def test_what_cannot_be_translated_keeps_its_place(tmp_path: Path, inside: str, line: str) -> None:
    _, found = loaded(tmp_path, http(f"server {{ {inside} }}"))
    assert line in found.text
    assert found.report.of("left out")


def test_methods(tmp_path: Path) -> None:
    inside = "location / { limit_except GET POST { deny all; } proxy_pass http://127.0.0.1:1; }"
    config, found = loaded(tmp_path, http(f"server {{ {inside} }}"))
    request = config.policies["methods"].request
    assert request is not None
    assert request.methods == ("GET", "POST")
    assert told(found, "changed") == [(3, "limit_except")]
    assert told(found, "left out") == []


def test_a_service_is_asked(tmp_path: Path) -> None:
    who = "location = /who { internal; proxy_pass http://127.0.0.1:9/check; }"
    config, _ = loaded(tmp_path, http(f"server {{ {who} location / {{ auth_request /who; proxy_pass http://127.0.0.1:1; }} }}"))
    auth = config.policies["asked"].auth
    assert auth is not None
    assert auth.forward is not None
    assert auth.forward.url == "http://127.0.0.1:9/check"


def test_passwords(tmp_path: Path) -> None:
    good = "ann:$2y$10$N9q1pSs5WoyQkor4RzjT6.bbZgjWGa7sYDBDSLxbnRCBvEbAcy3OS\n"
    site = http("server { location / { auth_basic staff; auth_basic_user_file users; proxy_pass http://127.0.0.1:1; } }")
    (tmp_path / "users").write_text(good)
    config, found = loaded(tmp_path, site)
    assert next(policy.auth for policy in config.policies.values()) is not None
    assert not found.report.of("left out")
    (tmp_path / "users").write_text(good + "bob:$apr1$x$y\n")
    _, found = loaded(tmp_path, site)
    assert "deny: all" in found.text
    assert [one.origin.text for one in found.report.of("left out")] == ["auth_basic_user_file users"]


def test_tls_waits_behind_a_terminator(tmp_path: Path) -> None:
    config, found = loaded(tmp_path, http("server { listen 443 ssl; ssl_certificate a; location / { proxy_pass http://127.0.0.1:1; } }"))
    listener = config.listeners["http"]
    assert [str(bind) for bind in listener.bind] == ["127.0.0.1:8443"]
    assert told(found, "changed") == [(3, "listen")]
    assert told(found, "left out") == [(3, "ssl_certificate")]


def test_streams(tmp_path: Path) -> None:
    config, _ = loaded(
        tmp_path,
        """
        stream {
          upstream pg { server 10.0.2.1:5432; server 10.0.2.2:5432 backup; }
          map $ssl_preread_server_name $place { hostnames; a.example.com up; *.b.example.com 10.0.0.2:443; default up; }
          upstream up { server 10.0.0.1:443; }
          server { listen 5432; proxy_pass pg; proxy_timeout 1h; proxy_connect_timeout 1s; }
          server { listen 53 udp; proxy_pass 10.0.3.1:53; proxy_responses 1; }
          server { listen 8443; ssl_preread on; proxy_pass $place; proxy_protocol on; }
        }
        """,
    )
    assert {name: listener.mode for name, listener in config.listeners.items()} == {
        "tcp-5432": "tcp", "udp-53": "udp", "tcp-8443": "tls_passthrough",
    }
    assert str(config.upstreams["pg"].timeout.connect) == "1s"
    assert [(route.match.sni, list(route.to)) for route in config.flow_routes_of("tcp-8443")] == [
        (("a.example.com",), ["up"]), (("*.b.example.com",), ["10.0.0.2-443"]), ((), ["up"]),
    ]


@pytest.mark.parametrize("text", ["", "http { server { listen x:y; } }", "listen: :8080\n", "http {}", "http { server {", "events {}"])
def test_what_is_no_nginx_config(tmp_path: Path, text: str) -> None:
    with pytest.raises(NotRead):
        imported(tmp_path, text)


PATHS = st.sampled_from(["/", "/a", "/a/", "/a/b", "/a/b/", "/c d", "/é", "/a*b", "/%", "/x.y", "//", "/.", "/{a}", "/${a}", '/q"'])
REGEXES = st.sampled_from([r"\.png$", r"^/a/(.*)$", r"^/(?<n>x)y", r"(?!a)", "[", "a|b", r"\d+", ".*"])
MODIFIED = st.one_of(
    st.tuples(st.sampled_from(["", "= ", "^~ "]), PATHS), st.tuples(st.sampled_from(["~ ", "~* "]), REGEXES)
)
DIRECTIVES = st.sampled_from([
    "proxy_pass http://up;", "proxy_pass http://up/;", "proxy_pass http://up/x y/;", "proxy_pass http://127.0.0.1:9/v2;", "return 301 /x;",
    "proxy_pass http://unix:/run/x.sock:/b/;", "proxy_pass $x;", "return 444;", "return 200 'a ${b}';", "return 302 http://$host$uri;",
    "root /srv;", "proxy_read_timeout 0;", "proxy_read_timeout 100d;", "expires 1h;", "allow all;", "deny 1.2.3.4/33;", "deny all;",
    "limit_req zone=z burst=5;", "limit_req zone=none;", "add_header A 'b c';", "add_header Connection x;",
    "if ($host = a) { return 403; }", "client_max_body_size 0;", "client_max_body_size 5k;", "proxy_cache c;", "proxy_cache_valid any 0;",
    "gzip on;", "proxy_set_header X '';", "rewrite ^/a/(.*)$ /$1 break;", "rewrite ^(.*)$ /x last;", "unknown_directive on;",
    "if ($arg_a ~ '[') { return 400; }", "return 999;",
    "proxy_next_upstream off;", "proxy_next_upstream http_404 non_idempotent;", "add_header X é;", "proxy_cache_key $uri$cookie_a;",
])  # fmt: skip
NAMES = st.sampled_from(["a.com", "*.a.com", "a.*", r"~^x\d", ".b.org", "_", "''", "bad_name!", "~[", "é.com", "a.com b.com"])


def _written(name: str) -> str:
    return f'"{name}"' if set(name) & set(" {}$\"*%") and '"' not in name else name.replace('"', '\\"')


@st.composite
def servers(draw: st.DrawFn) -> str:
    locations = draw(st.lists(st.tuples(MODIFIED, st.lists(DIRECTIVES, max_size=3)), max_size=4))
    inner = "\n".join(f"location {modifier}{_written(path)} {{ {' '.join(body)} }}" for (modifier, path), body in locations)
    listen = draw(st.sampled_from(["80", "*:80", "[::]:80", "81 default_server", "443 ssl", "127.0.0.1:80", "unix:/run/a.sock"]))
    return f"server {{ listen {listen}; server_name {draw(NAMES)}; {' '.join(draw(st.lists(DIRECTIVES, max_size=2)))}\n{inner} }}"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(servers(), min_size=1, max_size=3))
def test_whatever_comes_out_passes_check(tmp_path: Path, written: list[str]) -> None:
    zones = "limit_req_zone $remote_addr zone=z:1m rate=1r/m; proxy_cache_path /c keys_zone=c:1m; upstream up { server 10.0.0.1; }"
    found = imported(tmp_path, http(f"{zones}\n" + "\n".join(written)))
    result = load_text(found.text, folder=str(tmp_path))
    assert result.ok, f"{[str(error) for error in result.errors]}\n{found.text}"


def test_a_file_that_includes_itself(tmp_path: Path) -> None:
    with pytest.raises(NotRead, match="includes itself"):
        imported(tmp_path, "include nginx.conf;\nevents {}\n")
