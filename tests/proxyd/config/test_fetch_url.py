from __future__ import annotations

import pytest

from proxyd.config.fetch_url import is_safe_url, is_url


@pytest.mark.parametrize("url", ["https://a", "https://a:8443/k?x=%2F", "HTTPS://a/", "http://[::1]:1/k", "http://127.9.9.9", "http://localhost:1"])
def test_safe(url: str) -> None:
    assert is_safe_url(url)


@pytest.mark.parametrize("url", ["http://a", "http://10.0.0.1/k", "http://[::2]", "http://localhost.example.com", "http://127.0.0.1.example.com"])
def test_others_on_the_way(url: str) -> None:
    assert not is_safe_url(url)
    assert is_safe_url(url, insecure=True)


@pytest.mark.parametrize(
    "url",
    [
        "", "a", "/k", "https://", "https:///k", "https://u@a", "https://u:p@a", "https://:p@a", "https://a#f", "https://a b", "https://a\n",
        "https://é", "file:///k", "ftp://a", "https://a:0", "https://a:x", "https://a:99999", "https://[::1", "//a",
    ],
)
def test_no_urls(url: str) -> None:
    assert not is_url(url)
    assert not is_safe_url(url, insecure=True)
