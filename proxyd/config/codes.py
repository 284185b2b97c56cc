"""The stable codes of what can be wrong with a config, with what `proxyd explain CODE` says about each. Numbers are never given out again.

00x YAML and files · 02x unknown, missing, there twice · 03x values and units · 04x missing extras · 05x references ·
07x sockets · 08x policies · 1xx lint.
(Codes of a running daemon stand in proxyd/codes.py.)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    title: str
    text: str
    wrong: str = ""  # a line that has the mistake
    right: str = ""  # and how it is meant


CODES: dict[str, Code] = {
    "PXD-001": Code(
        "a file cannot be read",
        "The config file, or one that it includes, does not exist, is a folder, or may not be read by this user. Without -c, proxyd "
        "looks at $PROXYD_CONFIG, ./proxyd.yaml and /etc/proxyd/proxyd.yaml.",
    ),
    "PXD-002": Code(
        "a character that cannot stand in YAML",
        "Config files are UTF-8 text. Control characters are written as escapes in double quotes.",
        wrong='body: "<a bell>"',
        right='body: "\\a"',
    ),
    "PXD-003": Code(
        "not YAML",
        "The file's structure could not be read, so nothing behind this place was looked at. The usual reasons: a value that begins "
        "with `*` or `@`, `${…}` or `:80` inside braces or brackets, a tab in the indentation, a quote that is never closed. Quotes "
        "cure most of them.",
        wrong="match: *.example.com/*",
        right='match: "*.example.com/*"',
    ),
    "PXD-004": Code(
        "too large",
        "A config may be 8 MiB of text, 32 levels deep and 500,000 values, aliases written out; one secret file 64 KiB. A file beyond "
        "that is either generated wrongly or made to harm. Of mistakes, 500 are told at a time.",
    ),
    "PXD-005": Code(
        "a part of YAML that is not used here",
        "Tags (`!!str`), several documents in one file and aliases of nothing are refused. Anchors and aliases as such are allowed.",
        wrong="port: !!int 80",
        right="port: 80",
    ),
    "PXD-006": Code(
        "an include that does not work",
        "`include` takes paths or globs, relative to the file that it stands in. A path without a wildcard must exist; a glob may "
        "find nothing. Included files cannot include further ones.",
        wrong="include: conf.d",
        right="include: conf.d/*.yaml",
    ),
    "PXD-007": Code(
        "a variable that cannot be put in",
        "`${name}` is looked up in `vars`, `${env:NAME}` in the environment, `${file:PATH}` is a file's content. `$${` writes a "
        "literal `${`.",
        wrong="to: ${backend}",
        right="vars: {backend: app}   # then: to: ${backend}",
    ),
    "PXD-008": Code(
        "an environment variable is not set",
        "`${env:NAME}` needs a value that is not empty. A default follows `:-`.",
        wrong="listen: :${env:PORT}",
        right="listen: :${env:PORT:-8080}",
    ),
    "PXD-009": Code(
        "a secret file cannot be read",
        "`${file:PATH}` is UTF-8 text of at most 64 KiB, readable by the user that proxyd runs as; one line end behind it is removed. "
        "Files of API keys and htpasswd files may have 8 MiB.",
    ),
    "PXD-010": Code(
        "the file of an error page cannot be read",
        "`error_pages: {404: {file: PATH}}` is read when the config is loaded: up to 1 MiB, relative to the config file, readable by the "
        "user that proxyd runs as. A changed page is served after the next reload.",
    ),
    "PXD-021": Code(
        "unknown option",
        "No option has this name here. Options are never ignored: a misspelt one would silently not work.",
        wrong="{address: 127.0.0.1:9001, wieght: 3}",
        right="{address: 127.0.0.1:9001, weight: 3}",
    ),
    "PXD-022": Code(
        "something is missing",
        "An option that must be there is not, or has no value. In YAML a key with nothing behind it has the value null, which is "
        "never meant here.",
        wrong="upstreams: {app: {balance: p2c}}",
        right="upstreams: {app: {servers: [127.0.0.1:9001], balance: p2c}}",
    ),
    "PXD-023": Code(
        "the same key twice",
        "A mapping has each key once, across included files too. Plain YAML would keep the last one and drop the others without a word.",
    ),
    "PXD-024": Code(
        "options that exclude one another",
        "A route has one action: `to`, `redirect` or `respond`. A listener has `routes` or one action of its own, and its `mode` says "
        "which options there are: what passes bytes on reads no requests, so nothing that asks for one has a meaning there. A check has "
        "`path` or `tcp`.",
        wrong="{match: /old/*, to: app, redirect: /new}",
        right="{match: /old/*, redirect: /new}",
    ),
    "PXD-025": Code(
        "the same entry twice in a list",
        "A server stands once in an upstream, with a weight if it is to get more; a policy stands once in a `use`.",
        wrong="servers: [10.0.0.1:80, 10.0.0.1:80]",
        right="servers: [{address: 10.0.0.1:80, weight: 2}]",
    ),
    "PXD-026": Code(
        "two routes with one name",
        "Names tell routes apart in logs, metrics and `proxyd status`, so each is given once in a table of routes.",
    ),
    "PXD-030": Code(
        "a value of the wrong kind",
        "A mapping, a list, text or a number stands where another of them is expected. `proxyd explain OPTION` shows what an option takes.",
        wrong="servers: {a: 127.0.0.1:9001}",
        right="servers: [127.0.0.1:9001]",
    ),
    "PXD-031": Code(
        "a number without its unit",
        "Durations, sizes, rates and percentages carry a unit, so that nobody has to know whether 10 is seconds or milliseconds.",
        wrong="interval: 10",
        right="interval: 10s",
    ),
    "PXD-032": Code(
        "not a quantity",
        "Durations are written with ms, s, m, h, d (also together: 1h30m); sizes with B, KiB, MiB, GiB, or kB, MB, GB for powers of "
        "ten; rates of bytes as sizes with /s; percentages with %.",
        wrong="header_size: 16k",
        right="header_size: 16KiB",
    ),
    "PXD-033": Code(
        "out of bounds",
        "The value is understood, and too small or too large. `proxyd explain OPTION` shows the bounds.",
    ),
    "PXD-034": Code(
        "not one of the allowed words",
        "The option takes one of a few words; the help line lists them.",
        wrong="balance: leastconn",
        right="balance: least_conn",
    ),
    "PXD-035": Code(
        "not an address",
        "A server is `10.0.0.1:8080`, `[2001:db8::1]:8080`, `name:8080` or `unix:/path`. A listener binds an IP address: `:80` is "
        "every address of the machine.",
        wrong="to: http://10.0.0.1",
        right="to: 10.0.0.1:80",
    ),
    "PXD-036": Code(
        "not a name",
        "Names of listeners, routes, policies and upstreams are letters, digits, `_`, `.` and `-`: they become labels of metrics.",
    ),
    "PXD-037": Code(
        "not a match",
        "A match is `[METHODS] [host]/path`. `*` at the end of the path stands for the rest; `*.example.com` for every name below "
        "example.com. Paths are compared in their normal form, after `%41` became `A` and `/a/../b` became `/b`.",
        wrong="match: /api/*/users",
        right="match: /api/*",
    ),
    "PXD-038": Code(
        "text that does not fit its purpose",
        "A network, a status range, a path of a health check or the target of a redirect has a form of its own; the help line shows it.",
        wrong="allow: [10.0.0.1/8]",
        right="allow: [10.0.0.0/8]",
    ),
    "PXD-039": Code(
        "values that contradict each other",
        "Each is right alone, but not together: a check that may last longer than its interval, a URI that may be longer than the "
        "head that holds it, weights that are all zero.",
        wrong="to: {app: 0}",
        right="to: {app: 100}",
    ),
    "PXD-040": Code(
        "a part of proxyd is not installed",
        "What is asked for needs a library that comes with an extra of the package, so that those who do not use it need not install it.",
        wrong="cache: {shared: {redis: redis://127.0.0.1}}   # without the extra",
        right="pip install 'proxyd[redis]'",
    ),
    "PXD-050": Code(
        "an upstream that is not defined",
        "A word in `to` is the name of an upstream. An address is known by its port.",
        wrong="to: localhost",
        right="to: localhost:8080",
    ),
    "PXD-051": Code(
        "a policy that is not defined",
        "`use` names policies of the section `policies`.",
    ),
    "PXD-052": Code(
        "a failover that leads to itself",
        "`failover` names the upstream that steps in when the one of `to` cannot answer, so it is another one. Further tries on servers "
        "of the same upstream are what `retry` is for.",
        wrong="{to: app, failover: app}",
        right="{to: app, failover: spare}",
    ),
    "PXD-053": Code(
        "a tier that is not set up",
        "`cache.tiers` names `shared`, and there is no `cache.shared` that says where it is.",
        wrong="cache: {tiers: [memory, shared]}",
        right="cache: {tiers: [memory, shared], shared: {redis: redis://127.0.0.1:6379/0}}",
    ),
    "PXD-054": Code(
        "a test that speaks of what is not there",
        "`tests` name listeners, routes, upstreams and policies of the same config. A route without a `name` has one that is made from its "
        "match; `proxyd show config` tells it.",
        wrong="tests: [{request: /cart, route: shp}]",
        right="tests: [{request: /cart, route: shop}]",
    ),
    "PXD-071": Code(
        "an admin API that the network can reach",
        "The admin API can stop and change proxyd. Without `users` it asks nobody who he is, so it listens on loopback addresses and unix "
        "sockets only.",
        wrong="admin: {bind: :2080}",
        right="admin: {bind: 127.0.0.1:2080}",
    ),
    "PXD-072": Code(
        "one address for two listeners",
        "Only one socket can have an address. `:80` is every address of the machine, so it overlaps with `127.0.0.1:80` too. A port of TCP "
        "and one of UDP are two.",
    ),
    "PXD-080": Code(
        "a policy that is not of one kind",
        "A policy is `name: {kind: options}` with exactly one kind. For two behaviours, write two policies and name both in `use`.",
    ),
    "PXD-081": Code(
        "keys of tokens that cannot be used",
        "Signatures of tokens are verified with public keys (a JWKS, or PEM) or with a secret of 32 bytes or more. Keys are fetched by "
        "https, since whoever can change them lets in whom he likes. Each algorithm goes with one kind of key: HS256 with a `secret`, "
        "RS256, ES256 and the like with public keys, for a public key that is taken for a secret is one that everybody knows.",
        wrong="{issuer: https://id.example.com, audience: shop, keys: {jwks: http://id.example.com/keys}}",
        right="{issuer: https://id.example.com, audience: shop, keys: {jwks: https://id.example.com/keys}}",
    ),
    "PXD-082": Code(
        "a header field that cannot be set",
        "Names are tokens of RFC 9110, values are one line. Fields that frame messages or belong to one connection (Content-Length, "
        "Connection, …) are written by proxyd alone.",
    ),
    "PXD-083": Code(
        "more places reserved than there are",
        "`concurrency.reserved` of a route takes places out of `concurrency.total` (1000 unless told otherwise) for that route alone. All "
        "routes together must leave `concurrency.unreserved` (100) for those that reserve none: they would never be served else.",
        wrong="routes: [{match: /a/*, to: a, concurrency: {reserved: 600}}, {to: b, concurrency: {reserved: 400}}]",
        right="concurrency: {total: 1100}",
    ),
    "PXD-084": Code(
        "a limit by who it is, where nobody tells",
        "The keys `user`, `api_key` and `jwt.CLAIM` are what an `auth` policy of the same route has found out. Without one they would be "
        "empty for every request, and what is empty is not counted.",
        wrong="routes: [{to: app, use: [per-user]}]",
        right="routes: [{to: app, use: [sso, per-user]}]",
    ),
    "PXD-085": Code(
        "a database of countries that is not there",
        "`access` by country asks a database in MaxMind's format, such as GeoLite2 Country, which `geoip` names. It is read when the "
        "config is loaded, so a newer file takes effect with the next reload.",
        wrong="policies: {home: {access: {allow: country:SE}}}   # and no `geoip`",
        right="geoip: /usr/share/GeoIP/GeoLite2-Country.mmdb",
    ),
    "PXD-086": Code(
        "a password hash that is not taken",
        "Passwords are kept as argon2id or bcrypt hashes. Older forms (SHA-1, MD5, crypt, plain text) are broken within hours once a file "
        "is read by somebody, and hashes that take more than about a second or 256 MiB would let strangers exhaust this machine.",
        wrong="users: {ann: '{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g='}",
        right="users: {ann: $2y$10$...}    # htpasswd -nB ann",
    ),
    "PXD-087": Code(
        "an API key that is not taken",
        "Only the SHA-256 of a key is kept, which is safe for long random keys and for no others: 16 to 512 ASCII characters without "
        "blanks. A key belongs to one name.",
        wrong="keys: {shop: secret}",
        right='keys: {shop: "${env:SHOP_KEY}"}    # openssl rand -hex 24',
    ),
    "PXD-088": Code(
        "a usage plan that is not right",
        "A key names a plan of the section `plans`, and a plan has a `rate`, a `quota` or both. A quota is a number of requests in a "
        "day, a week or a month, which begin at midnight UTC (weeks on Monday).",
        wrong="plans: {gold: {quota: 10000}}",
        right="plans: {gold: {quota: 10000/day}}",
    ),
    "PXD-089": Code(
        "a filter that does not load",
        "The file of a `python` policy is parsed when the config is read, and run once in a worker process before the config is taken, at "
        "a start and at a reload. The message names file and line. It defines `on_request(request)`, `on_response(request, response)` "
        "or both.",
        wrong="script: {python: {file: filters/tenant.yaml}}",
        right="script: {python: {file: filters/tenant.py}}",
    ),
    "PXD-101": Code(
        "an upstream that nothing uses",
        "No route sends to it. It is kept, its servers are checked, and it does nothing.",
    ),
    "PXD-102": Code(
        "a policy that nothing uses",
        "No route and no `defaults.use` names it, so it has no effect.",
    ),
    "PXD-103": Code(
        "a route that can never match",
        "The first route that matches wins, and earlier ones take every request that this one would. Usually the special case stands "
        "below the general one.",
        wrong="[{match: /*, to: app}, {match: /api/*, to: api}]",
        right="[{match: /api/*, to: api}, {match: /*, to: app}]",
    ),
    "PXD-104": Code(
        "a repetition that never happens",
        "Requests with methods that are not idempotent (POST, PATCH) are sent again only while no server can have begun with them: after "
        "a failed connection. Statuses, timeouts and hedges do nothing for a route that takes no others; with `idempotency_key: true` "
        "clients may mark what can be repeated.",
        wrong="{match: POST /orders, to: app, retry: {when: [connect_failure, 503]}}",
        right="{match: POST /orders, to: app, retry: {when: [connect_failure, 503], idempotency_key: true}}",
    ),
    "PXD-105": Code(
        "a mirror to where the requests go",
        "The upstream gets the request and its copy. Copies are meant for another one, a new release for instance.",
        wrong="{to: app, mirror: app}",
        right="{to: app, mirror: next}",
    ),
    "PXD-106": Code(
        "a setting without effect",
        "It is allowed, and changes nothing as the rest of the config stands. The message says what it lacks.",
        wrong="circuit: {max_pending: 100}",
        right="circuit: {max_requests: 1000, max_pending: 100}",
    ),
    "PXD-107": Code(
        "an upstream of backups only",
        "Backups are used while no other server is usable. Where all are backups they are simply its servers.",
    ),
    "PXD-108": Code(
        "one sticky cookie for two upstreams",
        "A client of both has one cookie of that name, so each answer overwrites what the other upstream had set.",
        wrong="upstreams: {a: {servers: [10.0.0.1:80], sticky: cookie}, b: {servers: [10.0.0.2:80], sticky: cookie}}",
        right="upstreams: {a: {servers: [10.0.0.1:80], sticky: {cookie: a}}, b: {servers: [10.0.0.2:80], sticky: {cookie: b}}}",
    ),
    "PXD-109": Code(
        "a key that takes different answers for one",
        "Stored answers are told apart by the cache's key. What is not in it makes no difference: without `path`, whatever was asked for "
        "first is sent for every path.",
        wrong="{match: /img/*, to: app, cache: {ttl: 1h, key: [host, 'query:w,h']}}",
        right="{match: /img/*, to: app, cache: {ttl: 1h, key: [host, path, 'query:w,h']}}",
    ),
    "PXD-110": Code(
        "answers for one visitor that others could get",
        "`ttl.override` stores what the server has not meant to be stored, and `set_cookie: strip` what it has said to one client. On a "
        "route that takes everything, pages of those who are logged in are among it, unless the server marks them as private.",
        wrong="{match: /*, to: app, cache: {ttl: {override: 1h}}}",
        right="{match: /*, to: app, cache: {ttl: {override: 1h}, bypass: [header:Authorization, cookie:session]}}",
    ),
    "PXD-111": Code(
        "stored answers that go across branches",
        "The route keeps each client on its branch of `to`, but what is stored is one for all branches: a client of one is sent what "
        "another has answered. Where the key has the cookie or the field that chooses the branch, each branch has its own.",
        wrong="{to: {a: 95, b: 5}, sticky: {cookie: release}, cache: 10m}",
        right="{to: {a: 95, b: 5}, sticky: {cookie: release}, cache: {ttl: 10m, key: [scheme, host, path, query, 'cookie:release']}}",
    ),
    "PXD-112": Code(
        "a door without a lock",
        "The store for applications and PURGE ask nobody who he is. They are meant for this machine, or for networks of which all "
        "machines may read, change and empty the cache. PROXY headers are believed as well: who may send them can be any client.",
        wrong="listeners: {store: {bind: ':2081', mode: cache}}",
        right="listeners: {store: {bind: '127.0.0.1:2081', mode: cache}}",
    ),
    "PXD-113": Code(
        "a secret in the file",
        "Config files are copied, shown and kept in version control. A secret comes from the environment or from a file of its own, and "
        "is shown as `***` everywhere.",
        wrong="redis: redis://:hunter2@10.0.0.1:6379/0",
        right='redis: "redis://:${env:REDIS_PASSWORD}@10.0.0.1:6379/0"',
    ),
    "PXD-114": Code(
        "a rate without a burst",
        "A rate is a distance between requests: at 20/s the next one passes 50 ms after the last, as with nginx's limit_req. Browsers and "
        "most clients send several at once; `burst` says how many may come beyond the rate. `burst: 0` says that none is meant.",
        wrong="rate_limit: {rate: 20/s}",
        right="rate_limit: {rate: 20/s, burst: 40}",
    ),
    "PXD-116": Code(
        "quotas that a restart forgets",
        "Plans have quotas, and nothing says where usage is kept: after a restart every key has its whole quota again.",
        wrong="plans: {gold: {quota: 10000/day}}",
        right="plans: {gold: {quota: 10000/day}}\nusage: /var/lib/proxyd/usage.json",
    ),
    "PXD-117": Code(
        "tokens that were meant for somebody else",
        "Without an audience, whoever is sent a token, for whatever purpose, can show it here as his own: another service of the same "
        "issuer, for instance.",
        wrong="auth: {jwt: {issuer: https://id.example.com, audience: any}}",
        right="auth: {jwt: {issuer: https://id.example.com, audience: shop}}",
    ),
    "PXD-118": Code(
        "a token or key in the URL",
        "URLs are kept in histories, stand in `Referer` and in other programs' logs, and are shared; proxyd's own records show such a "
        "parameter as `***`. RFC 6750 (section 2.3) advises against it; a cookie or `Authorization` is for that.",
        wrong="auth: {jwt: {issuer: https://id.example.com, audience: shop, query: access_token}}",
        right="auth: {jwt: {issuer: https://id.example.com, audience: shop}}",
    ),
    "PXD-119": Code(
        "an upstream whose servers all stand in other zones",
        "`zones: {cross: false}` keeps to the servers of proxyd's own zone (`runtime.zone`) and to those that tell none, and there are "
        "none of these: every request, and every flow, would be refused.",
        wrong="runtime: {zone: a}\nupstreams: {db: {servers: [{address: 10.0.0.1:5432, zone: b}], zones: {cross: false}}}",
        right="runtime: {zone: a}\nupstreams: {db: {servers: [{address: 10.0.0.1:5432, zone: b}]}}",
    ),
    "PXD-140": Code(
        "an admin API that is not encrypted",
        "The admin API speaks plain HTTP. Beyond this machine, whoever sees the traffic reads the passwords in it. Reach it through ssh "
        "(`ssh -L 2080:127.0.0.1:2080 HOST`) or through a proxy that speaks TLS, or keep it to a network that nobody else is on.",
        wrong="admin: {bind: 10.0.0.1:2080, users: {ops: {role: operator, password: '${file:/run/secrets/ops}'}}}",
        right="admin: {bind: 127.0.0.1:2080, users: {ops: {role: operator, password: '${file:/run/secrets/ops}'}}}",
    ),
    "PXD-120": Code(
        "a server that is proxyd itself",
        "The server's address is one that a listener of this config has, and what comes in there is sent to the same upstream again. Each "
        "round takes a connection, until there are none left. Two listeners, one behind the other, are fine where nothing leads back.",
        wrong="{listen: ':8080', to: 127.0.0.1:8080}",
        right="{listen: ':8080', to: 127.0.0.1:9001}",
    ),
    "PXD-121": Code(
        "a time that never passes",
        "Another bound ends the request, or the try, before: `total` holds for the whole exchange, tries and waits included.",
        wrong="timeout: {total: 5s, per_try: 10s}",
        right="timeout: {total: 5s, per_try: 2s}",
    ),
    "PXD-122": Code(
        "a bound that is never reached",
        "Another bound, of what this one is a part of or what it is made of, is lower.",
        wrong="{servers: [{address: 10.0.0.1:80, max_requests: 10}], circuit: {max_requests: 100}}",
        right="{servers: [{address: 10.0.0.1:80, max_requests: 100}], circuit: {max_requests: 100}}",
    ),
    "PXD-123": Code(
        "routes that no listener uses",
        "The top-level `routes` are for listeners that have none of their own. Here every listener that takes requests has its own.",
        wrong="listeners: {web: {bind: ':80', to: app}}\nroutes: [{match: /api/*, to: api}]",
        right="listeners: {web: {bind: ':80'}}\nroutes: [{match: /api/*, to: api}, {to: app}]",
    ),
    "PXD-124": Code(
        "a redirect that leads to itself",
        "The place that clients are sent to is taken by the same route, which redirects them again. Browsers give up after some rounds.",
        wrong='{match: /*, redirect: "/new{path}"}',
        right='{match: /old/*, redirect: "/new{path}"}',
    ),
}
