"""Connect to public addresses only, for a service that downloads the URLs that its clients name.

This module resolves each host name itself, and connects to the address that it has checked. Every redirect is a new
request, so it is checked in the same way.
"""

from __future__ import annotations

import ipaddress
import socket

import httpx2

_NEVER = [
    ipaddress.ip_network(net)
    for net in (
        "::/8",
        "64:ff9b::/32",
        "2002::/16",
        "2001::/32",
        "fec0::/10",
    )  # they contain an IPv4 address, or are old
]
"""Networks that Python counts as public, but that can lead to private addresses."""


class NotPublic(httpx2.RequestError):
    """The address is not public, or the port is not allowed."""


class PublicTransport(httpx2.HTTPTransport):
    """Sends requests only to public addresses, on ports 80 and 443."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        if url.port not in (None, 80, 443):
            raise NotPublic(f"port {url.port} is not allowed", request=request)
        address = _public_address(url.host, request)
        # The Host header and the TLS handshake still use the host name, so that the certificate is checked against it.
        extensions = {**request.extensions, "sni_hostname": url.host}
        checked = httpx2.Request(
            request.method,
            url.copy_with(host=address),
            headers=request.headers,
            stream=request.stream,
            extensions=extensions,
        )
        return super().handle_request(checked)


def _public_address(host: str, request: httpx2.Request) -> str:
    """Return an address of the host. Raises NotPublic if any of its addresses is not public."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise httpx2.ConnectError(f"{host} cannot be found", request=request) from error
    for each in found:
        address = ipaddress.ip_address(each.partition("%")[0])
        if not address.is_global or address.is_multicast or any(address in net for net in _NEVER):
            raise NotPublic(f"{host} is not a public address", request=request)
    return sorted(found)[0]
