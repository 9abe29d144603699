"""Where a server is, by its URL."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from rag_memory_plugins.errors import InvalidInput

__all__ = ["is_loopback", "server_url"]


def server_url(url: object) -> SplitResult:
    """The parts of an http or https URL with a host; raises `InvalidInput` for anything else.

    >>> server_url("https://example.com:8443/v1").port
    8443
    """
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        known = parts is not None and (parts.port is None or parts.port > 0)
    except ValueError:  # half an IPv6 address, a port that is no number
        parts, known = None, False
    if parts is None or not known or parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput("base_url", url, "pass a URL like http://127.0.0.1:8080/v1")
    return parts


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine: 127.0.0.0/8, ::1 or localhost.

    >>> is_loopback("http://127.0.0.1:8080/v1"), is_loopback("https://example.com/127.0.0.1")
    (True, False)
    """
    host = server_url(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
