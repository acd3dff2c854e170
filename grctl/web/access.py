"""Who may use the dashboard: decided once, from the settings, before anything listens.

Three ways. *Loopback*: whoever can reach the loopback interface of this machine. *Token*: whoever
signs in with it. *Proxy*: whoever a proxy in front has signed in and names in a header; it is
believed only if the request comes from one of the proxy's own addresses. Any other bind than
loopback needs one of the latter two.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from grctl.errors import ConfigurationError
from grctl.settings import Settings

__all__ = ["Access", "access_of"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SHORTEST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Access:
    """The way in. ``hosts`` are names that requests may be addressed to, besides addresses."""

    way: Literal["loopback", "token", "proxy"]
    is_loopback: bool
    hosts: frozenset[str] = frozenset()
    token: str | None = None
    header: str | None = None
    peers: tuple[Network, ...] = ()

    def is_addressed_to_us(self, host: str | None) -> bool:
        """Whether a request with this Host header can be meant for us.

        A page elsewhere can have its own name lead to our address (DNS rebinding), and then ask us
        as if it were ours. A name is ours only if we were told so; an address cannot be rebound.
        """
        name = _hostname(host)
        if name is None:
            return False
        if name in self.hosts or name == "localhost":
            return True
        address = _address(name)
        return address is not None and (address.is_loopback or not self.is_loopback)

    def is_same_origin(self, origin: str | None, host: str | None) -> bool:
        """Whether an Origin header names the site that the Host header does, or one of ours."""
        try:
            parts = urlsplit(origin or "")
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return False
        return parts.netloc.lower() == (host or "").lower() or parts.hostname.lower() in self.hosts

    def is_proxy(self, peer: str | None) -> bool:
        """Whether a request from this address comes from the proxy."""
        address = _address(peer or "")
        return address is not None and any(address in network for network in self.peers)


def access_of(settings: Settings) -> Access:
    """The way in that the settings ask for.

    ConfigurationError if they would let in anybody, or contradict themselves.
    """
    loopback = _is_loopback(settings.dashboard_host)
    hosts = frozenset(name.lower() for name in _listed(settings.dashboard_hosts))
    token = _token(settings)
    if settings.dashboard_proxy_header is not None or settings.dashboard_proxy_peers is not None:
        if token is not None:
            raise ConfigurationError(
                "the dashboard has a token and a proxy: leave GRCTL_DASHBOARD_TOKEN[_FILE] or "
                "GRCTL_DASHBOARD_PROXY_HEADER out"
            )
        return _by_proxy(settings, loopback, hosts)
    if token is not None:
        return Access("token", loopback, hosts, token=token)
    if not loopback:
        raise ConfigurationError(
            f"the dashboard would be open to whoever reaches {settings.dashboard_host}: set "
            "GRCTL_DASHBOARD_TOKEN_FILE, or GRCTL_DASHBOARD_PROXY_HEADER and "
            "GRCTL_DASHBOARD_PROXY_PEERS, or bind to 127.0.0.1"
        )
    return Access("loopback", loopback, hosts)


def _by_proxy(settings: Settings, loopback: bool, hosts: frozenset[str]) -> Access:
    header = (settings.dashboard_proxy_header or "").strip().lower()
    names = _listed(settings.dashboard_proxy_peers)
    if not header or not names:
        raise ConfigurationError(
            "a proxy that signs people in needs both GRCTL_DASHBOARD_PROXY_HEADER (the header with "
            "the user's name) and GRCTL_DASHBOARD_PROXY_PEERS (the addresses it comes from)"
        )
    try:
        peers = tuple(ipaddress.ip_network(name) for name in names)
    except ValueError as error:
        raise ConfigurationError(
            f"GRCTL_DASHBOARD_PROXY_PEERS: {error}; expected addresses or networks such as "
            "10.0.0.7,10.1.0.0/16"
        ) from None
    if any(not network.prefixlen for network in peers):
        raise ConfigurationError("GRCTL_DASHBOARD_PROXY_PEERS must not be all addresses there are")
    return Access("proxy", loopback, hosts, header=header, peers=peers)


def _token(settings: Settings) -> str | None:
    if settings.dashboard_token_file is None:
        return settings.dashboard_token
    if settings.dashboard_token is not None:
        raise ConfigurationError(
            "set GRCTL_DASHBOARD_TOKEN or GRCTL_DASHBOARD_TOKEN_FILE, not both"
        )
    path = Path(settings.dashboard_token_file)
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the dashboard's token: {error}") from None
    if len(token) < SHORTEST_TOKEN:
        raise ConfigurationError(
            f"the token in {path} has {len(token)} characters: at least {SHORTEST_TOKEN} are "
            "needed, e.g. of `openssl rand -hex 24`"
        )
    return token


def _listed(text: str | None) -> list[str]:
    names: Iterable[str] = (text or "").split(",")
    return [name.strip() for name in names if name.strip()]


def _hostname(host: str | None) -> str | None:
    """The name in a Host header, without the port; None if there is none in it."""
    try:
        parts = urlsplit(f"//{host or ''}")
        _ = parts.port
    except ValueError:
        return None
    if not host or parts.netloc != host or parts.username is not None:
        return None
    return (parts.hostname or "").removesuffix(".") or None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return None
    # A socket of both families has clients of IPv4 as ::ffff:10.0.0.7.
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped or found


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback
