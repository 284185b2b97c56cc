"""What nginx's directives become: which are translated, which need no counterpart, and what is said of the others.

A directive that is in none of these tables is reported as unknown.
"""

from __future__ import annotations

from proxyd.importing.nginx.tree import Directive
from proxyd.importing.report import Report


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TRANSLATED = _words(
    "access_by_lua access_by_lua_block access_by_lua_file add_header allow auth_basic auth_basic_user_file auth_digest auth_jwt "
    "auth_ldap auth_oidc auth_pam auth_request break client_header_timeout client_max_body_size default_type deny error_page events "
    "expires gzip gzip_min_length gzip_types http if internal ip_hash js_access keepalive keepalive_timeout large_client_header_buffers "
    "least_conn least_time limit_conn limit_conn_dry_run limit_conn_status limit_conn_zone limit_except limit_req limit_req_dry_run "
    "limit_req_status limit_req_zone listen location map proxy_cache proxy_cache_bypass proxy_cache_key proxy_cache_lock "
    "proxy_cache_lock_timeout proxy_cache_methods proxy_cache_path proxy_cache_use_stale proxy_cache_valid proxy_connect_timeout "
    "proxy_hide_header proxy_ignore_headers proxy_intercept_errors proxy_next_upstream proxy_next_upstream_timeout "
    "proxy_next_upstream_tries proxy_no_cache proxy_pass proxy_protocol proxy_read_timeout proxy_redirect proxy_responses "
    "proxy_send_timeout proxy_set_header proxy_timeout random real_ip_header return rewrite root secure_link server server_name set "
    "set_real_ip_from split_clients ssl_preread stream try_files upstream worker_processes"
)

# What proxyd does by itself, what it has no use for, and what only tells nginx how to use the machine.
NO_LOSS = _words(
    "absolute_redirect accept_mutex access_log aio client_body_buffer_size client_body_in_file_only client_body_temp_path "
    "client_header_buffer_size connection_pool_size daemon debug_points directio env error_log etag gzip_buffers gzip_comp_level "
    "gzip_disable gzip_http_version gzip_proxied gzip_vary hash http2 http2_max_concurrent_streams ignore_invalid_headers "
    "include keepalive_disable keepalive_requests keepalive_time limit_conn_log_level limit_rate_after limit_req_log_level "
    "lingering_close lingering_time lingering_timeout load_module lock_file log_format log_not_found log_subrequest master_process "
    "map_hash_bucket_size map_hash_max_size merge_slashes msie_padding multi_accept open_file_cache open_file_cache_errors "
    "open_file_cache_min_uses open_file_cache_valid output_buffers pcre_jit pid port_in_redirect postpone_output preread_buffer_size "
    "preread_timeout proxy_buffer_size proxy_buffering proxy_buffers proxy_busy_buffers_size proxy_cache_background_update "
    "proxy_cache_lock_age proxy_cache_revalidate proxy_headers_hash_bucket_size proxy_headers_hash_max_size proxy_http_version "
    "proxy_ignore_client_abort proxy_max_temp_file_size proxy_pass_header proxy_request_buffering proxy_socket_keepalive "
    "proxy_temp_file_write_size proxy_temp_path real_ip_recursive recursive_error_pages request_pool_size reset_timedout_connection "
    "resolver resolver_timeout rewrite_log send_lowat send_timeout sendfile sendfile_max_chunk server_name_in_redirect "
    "server_names_hash_bucket_size server_names_hash_max_size server_tokens tcp_nodelay tcp_nopush thread_pool timer_resolution types "
    "types_hash_bucket_size types_hash_max_size uninitialized_variable_warn use user variables_hash_bucket_size "
    "variables_hash_max_size worker_aio_requests worker_connections worker_cpu_affinity worker_priority worker_rlimit_core "
    "worker_rlimit_nofile worker_shutdown_timeout working_directory zone"
)

_TLS = ("TLS is not there yet, on either side", "let a TLS terminator stand in front, and name it in `client_ip.trust`")
_FILES = ("proxyd serves no files", "run a static server behind it, and send the route there")
_NOT_HTTP = ("servers are spoken to in HTTP/1.1 only", "put the application behind a server that speaks HTTP")
_BODY = ("bodies of answers are passed on as they are", "let the server do it")

ELSEWHERE: dict[str, tuple[str, str]] = {
    "alias": _FILES,
    "autoindex": _FILES,
    "client_body_timeout": ("there is a slowest rate for bodies instead", "see `limits.min_body_rate` of the listener"),
    "dav_methods": _FILES,
    "fastcgi_param": _NOT_HTTP,
    "fastcgi_pass": _NOT_HTTP,
    "geo": ("there is no map by network", "routes can match by `source`, policies allow and deny by network"),
    "geoip2": ("there is no variable for a country", "`access` allows and denies by `country:XX`, with `geoip`"),
    "geoip_country": ("there is no variable for a country", "`access` allows and denies by `country:XX`, with `geoip`"),
    "grpc_pass": _NOT_HTTP,
    "gunzip": _BODY,
    "gzip_static": _FILES,
    "health_check": ("it says which", "write `health: {active: {path: …}}` into the upstream"),
    "image_filter": _BODY,
    "index": _FILES,
    "limit_rate": ("rates of bytes are not limited", ""),
    "memcached_pass": _NOT_HTTP,
    "mail": ("mail is passed on as TCP", "write a listener with `mode: tcp`"),
    "mirror": ("copies go to an upstream", "write `mirror: UPSTREAM` into the route"),
    "perl": ("there are no scripts inside", "write a filter in Python"),
    "proxy_bind": ("the address of connections to servers is not chosen", ""),
    "proxy_cookie_domain": ("cookies of servers are passed on as they are", "let the server set them for the right domain"),
    "proxy_cookie_path": ("cookies of servers are passed on as they are", "let the server set them for the right path"),
    "proxy_method": ("methods are not changed", ""),
    "proxy_set_body": ("bodies are passed on as they are", ""),
    "proxy_store": _FILES,
    "proxy_cache_min_uses": ("what is asked for once does not stay long, but is stored", "nothing is to be done"),
    "proxy_download_rate": ("rates of bytes are not limited", ""),
    "proxy_upload_rate": ("rates of bytes are not limited", ""),
    "satisfy": ("all policies of a route must hold", "make a route of its own for the networks that need no password, by `match.source`"),
    "scgi_pass": _NOT_HTTP,
    "slice": ("ranges are served from whole answers in the cache", ""),
    "ssi": _BODY,
    "stub_status": ("there are metrics instead", "`admin: {bind: [auto, 127.0.0.1:2080]}` has /metrics and /api/v1/status"),
    "sub_filter": _BODY,
    "uwsgi_pass": _NOT_HTTP,
}

_FAMILIES = {  # beginnings of names that mean the same for all of them
    "ssl_": _TLS,
    "proxy_ssl": _TLS,
    "fastcgi_": _NOT_HTTP,
    "uwsgi_": _NOT_HTTP,
    "scgi_": _NOT_HTTP,
    "grpc_": _NOT_HTTP,
    "autoindex": _FILES,
    "sub_filter": _BODY,
    "js_": ("there are no scripts inside", "write a filter in Python"),
    "lua_": ("there are no scripts inside", "write a filter in Python"),
    "content_by_lua": ("there are no scripts inside", "write a filter in Python"),
    "rewrite_by_lua": ("there are no scripts inside", "write a filter in Python"),
}
_VALUES = frozenset({"map", "split_clients", "types", "geo", "events"})  # blocks whose entries are no directives
_SWITCHES = frozenset({"gzip_static", "gunzip", "autoindex", "satisfy", "slice", "ssi"})  # of these, `off` (`all`, `0`) is nothing


def survey(block: Directive, report: Report) -> None:
    """Tell of every directive below that has no translation."""
    for one in block.block:
        if one.name in TRANSLATED or one.name in NO_LOSS or (one.name in _SWITCHES and one.first in ("off", "all", "0")):
            pass
        elif known := _elsewhere(one.name):
            report.left_out(one.origin, *known)
        elif one.name != "server" and block.name != "upstream":
            report.left_out(one.origin, "the importer does not know it", "`proxyd explain` and config/reference.yaml have what there is")
        if one.name not in _VALUES and one.name != "upstream" and one.name not in ELSEWHERE:
            survey(one, report)


def _elsewhere(name: str) -> tuple[str, str] | None:
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    return next((said for family, said in _FAMILIES.items() if name.startswith(family)), None)
