"""Configs of nginx as people write them, with the requests that tell apart what they do. `@alpha@` is the address of an origin."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class NginxCase:
    http: str
    targets: Sequence[str]
    hosts: Sequence[str] = ("example.com",)
    methods: Sequence[str] = ("GET",)
    fields: Sequence[dict[str, str]] = field(default_factory=lambda: ({},))
    reported: Sequence[str] = ()
    at_least: int = 10

    def text(self, port: int, origins: Mapping[str, str]) -> str:
        text = self.http.replace("@port@", f"127.0.0.1:{port}")
        for name, address in origins.items():
            text = text.replace(f"@{name}@", address)
        return text


CONFIGS = {
    "locations": NginxCase(
        """
        upstream alpha { server @alpha@; }
        upstream beta { server @beta@; }
        upstream gamma { server @gamma@; }
        server {
          listen @port@;
          location / { proxy_pass http://alpha; }
          location = / { proxy_pass http://beta; }
          location = /exact { proxy_pass http://gamma; }
          location /images/ { proxy_pass http://beta; }
          location ^~ /images/raw/ { proxy_pass http://gamma; }
          location /images/raw/thumbs/ { proxy_pass http://alpha; }
          location ~ \\.php$ { proxy_pass http://gamma; }
          location ~* \\.(jpe?g|png)$ { proxy_pass http://alpha; proxy_set_header Host images.internal; }
          location ~ ^/v[0-9]+/ { proxy_pass http://beta; }
          location /api { proxy_pass http://beta; }
          location /apiary/ { proxy_pass http://gamma; }
          location = /apiary { return 410; }
          location /docs/ { proxy_pass http://gamma; }
          location ~ ^/images/secret { return 403; }
        }
        """,
        targets=[
            "/", "/?a=1", "/x", "/exact", "/exact/", "/exactly", "/images/", "/images/a.png", "/images/a.PNG", "/images/a.gif",
            "/images/raw/a.png", "/images/raw/a.php", "/images/raw/thumbs/a.png", "/images/raw/thumbs/a.gif", "/images/raw/x",
            "/index.php", "/index.php?x=y.png", "/index.phpx", "/v1/x", "/v12/x.php", "/v/x", "/x/v1/", "/api", "/api/", "/apix", "/api/x",
            "/api/x.jpg", "/apiary", "/apiary/", "/apiary/x", "/docs", "/docs?a=b", "/docs/", "/docs/x", "/docsx", "/images/secret",
            "/images/secrets.png", "/images/raw/secret", "/A.JPEG", "/.php", "/x.png/y",
        ],
        methods=("GET", "POST", "HEAD"),
        at_least=100,
    ),
    "nested": NginxCase(
        """
        server {
          listen @port@;
          location / {
            proxy_pass http://@alpha@;
            location ~ \\.php$ { proxy_pass http://@beta@; }
            location /deep/ { proxy_pass http://@gamma@; }
            location = /deep/one { return 204; }
          }
          location /shop/ {
            proxy_pass http://@beta@;
            location ~ \\.png$ { proxy_pass http://@gamma@; }
            location ^~ /shop/cart/ { proxy_pass http://@alpha@; }
          }
          location ^~ /fixed/ {
            proxy_pass http://@gamma@;
            location ~ \\.css$ { proxy_pass http://@alpha@; }
          }
          location ~ \\.(png|css)$ { return 418; }
        }
        """,
        targets=[
            "/", "/a.php", "/a.png", "/a.css", "/deep/", "/deep", "/deep/one", "/deep/one/", "/deep/a.php", "/deep/a.png", "/deep/x",
            "/shop/", "/shop/a.png", "/shop/a.php", "/shop/a.css", "/shop/cart/", "/shop/cart/a.png", "/shop/cart/x", "/shop/cart/a.css",
            "/fixed/", "/fixed/a.css", "/fixed/a.png", "/fixed/a.php", "/fixed", "/shop",
        ],
        at_least=20,
    ),
    "names": NginxCase(
        """
        upstream alpha { server @alpha@; }
        server {
          listen @port@; server_name example.com www.example.com;
          location / { proxy_pass http://alpha; proxy_set_header Host $http_host; }
        }
        server { listen @port@; server_name *.example.com; location / { proxy_pass http://@beta@; } }
        server {
          listen @port@; server_name *.deep.example.com;
          location / { proxy_pass http://@gamma@; } location /r { return 302 /there; }
        }
        server { listen @port@; server_name www.example.*; return 301 http://example.com$request_uri; }
        server { listen @port@; server_name ~^shop[0-9]+\\.; location / { proxy_pass http://@gamma@; } }
        server { listen @port@; server_name ~^shop; return 307 https://$host$request_uri; }
        server { listen @port@; server_name .dotted.org; location / { return 200 "dotted"; } }
        server { listen @port@ default_server; server_name fallback.net; location /here { proxy_pass http://@beta@; } }
        """,
        hosts=[
            "example.com", "EXAMPLE.com", "www.example.com", "a.example.com", "a.b.example.com", "deep.example.com", "a.deep.example.com",
            "www.example.org", "www.example.co.uk", "shop1.net", "shop.net", "shop7.example.com", "dotted.org", "a.dotted.org",
            "fallback.net", "nobody.test", "example.com:PORT", "xdotted.org",
        ],
        targets=["/", "/here", "/here/x?y=1", "/r", "/rx"],
        at_least=80,
    ),
    "passing": NginxCase(
        """
        upstream alpha { server @alpha@; keepalive 8; }
        server {
          listen @port@;
          location /keep/ { proxy_pass http://alpha; }
          location /cut/ { proxy_pass http://alpha/; }
          location /other/ { proxy_pass http://alpha/v2/; }
          location /long/path/ { proxy_pass http://alpha/short/; proxy_set_header Host $host; }
          location = /one { proxy_pass http://alpha/two; }
          location /strip/ { rewrite ^/strip/(.*)$ /$1 break; proxy_pass http://alpha; }
          location /turn/ { rewrite ^/turn(/.*)$ /new$1 break; proxy_pass http://alpha; proxy_set_header Host fixed.internal; }
          location /noslash { proxy_pass http://alpha/base; proxy_set_header X-Env prod; proxy_set_header X-Debug ""; }
          location /told/ { proxy_pass http://alpha; add_header X-Robots none always; proxy_hide_header X-Powered-By; }
          location /plain/ { proxy_pass http://@beta@; proxy_set_header Host $http_host; }
          location /set/ { set $place alpha; proxy_pass http://$place; }
          location /hidden/ { internal; proxy_pass http://alpha; }
        }
        """,
        targets=[
            "/keep/", "/keep/x?y=1", "/cut/", "/cut/x", "/cut/x/y?z", "/cut", "/other/", "/other/x?y", "/long/path/", "/long/path/a/b",
            "/long/path", "/long", "/one", "/one?a=b", "/one/", "/strip/", "/strip/a/b?c=d", "/strip/a%20b", "/turn/", "/turn/x",
            "/noslash", "/noslash/x?y", "/told/", "/told/x", "/plain/x", "/set/x", "/hidden/", "/nowhere", "/cut/caf%C3%A9",
        ],
        fields=({}, {"X-Debug": "1"}, {"X-Answer": "404"}),
        at_least=80,
    ),
    "answers": NginxCase(
        """
        upstream alpha { server @alpha@; }
        map $http_x_variant $chosen { default alpha; b @beta@; ~^c @gamma@; }
        server {
          listen @port@;
          rewrite ^/old$ /fresh permanent;
          rewrite ^/temp$ http://example.org/temp redirect;
          if ($http_user_agent ~* badbot) { return 403; }
          if ($request_method = DELETE) { return 405; }
          if ($arg_debug) { return 204; }
          location = /text { return 200 "hello\\n"; }
          location = /teapot { return 418; }
          location /moved { return 301 https://example.org$request_uri; }
          location /seen { return 303 $scheme://$host/else$is_args$args; }
          location /there { return 302 /elsewhere; }
          location /login { if ($cookie_session = "") { return 302 /signin; } proxy_pass http://alpha; }
          location /variant { proxy_pass http://$chosen; proxy_set_header Host $host; }
          location /closed { allow 10.0.0.0/8; deny all; proxy_pass http://alpha; }
          location /open { deny 10.0.0.0/8; allow 127.0.0.0/8; deny 127.0.0.1; deny all; proxy_pass http://alpha; }
          location /local { if ($http_x_env = prod) { return 409; } proxy_pass http://alpha; }
        }
        """,
        targets=[
            "/old", "/old?x=1", "/older", "/temp", "/temp?y=2", "/text", "/teapot", "/moved", "/moved/a?b=c", "/seen", "/seen?a=1",
            "/there", "/login", "/variant", "/variant/x", "/closed", "/open", "/local", "/local?debug=1", "/", "/text?debug=",
        ],
        methods=("GET", "DELETE", "POST"),
        fields=(
            {}, {"User-Agent": "a BadBot/1"}, {"X-Variant": "b"}, {"X-Variant": "cc"}, {"X-Env": "prod"}, {"Cookie": "session=1"},
            {"Cookie": "other=2"},
        ),
        at_least=200,
    ),
}
