"""Keeps what yt-dlp asks for out of this machine and its networks: a channel's URL is data, and so is a redirect's."""

import functools
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import OpenerDirector, getproxies

from channelscribe.errors import BadInputError
from channelscribe.settings import Settings, get_settings

_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_HOLD_IPV4 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
_guarded = threading.local()
_resolve = socket.getaddrinfo


class PrivateAddressError(OSError):
    """A name stands for an address that is not of the internet."""


@contextmanager
def only_public_addresses() -> Iterator[None]:
    """Within it, this thread connects to addresses of the internet only, whatever a name or a redirect leads to.

    At the resolving of names, by which every connection is made: a check of the URL beforehand would not see a name
    that stands for another address the next time. Behind a proxy only the proxy's name is resolved, so the URL of each
    request and redirect is checked, too. What a name of the internet stands for is the proxy's to know and to refuse:
    asked here, it would be told to resolvers that the proxy is there to avoid, and some answer addresses of their own.
    """
    settings = get_settings()
    if settings.allow_private_addresses:
        yield
        return
    socket.getaddrinfo = _public
    _check_requests()
    before: Settings | None = getattr(_guarded, "settings", None)
    _guarded.settings = settings
    try:
        yield
    finally:
        _guarded.settings = before


def refuse_private(error: BaseException, source: str) -> BadInputError | None:
    """What to say where the address is why yt-dlp failed."""
    if "is not an address of the internet" not in str(error):
        return None
    return BadInputError(
        f"{source} leads to this machine or a private network: "
        "set CHANNELSCRIBE_ALLOW_PRIVATE_ADDRESSES=true to allow it."
    )


def _public(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
    found = _resolve(host, port, *arguments, **options)
    settings: Settings | None = getattr(_guarded, "settings", None)
    if settings is None or _is_allowed(host, port, settings):
        return found
    for *_, address in found:
        if not _is_public(str(address[0])):
            raise PrivateAddressError(f"{address[0]} is not an address of the internet")
    return found


@functools.cache
def _check_requests() -> None:
    """Have each request of yt-dlp checked, and each redirect that the libraries behind it follow by themselves."""
    from requests.adapters import HTTPAdapter
    from requests.exceptions import ConnectionError as FailedConnection
    from yt_dlp.networking.common import RequestDirector
    from yt_dlp.networking.exceptions import TransportError

    _check_first(RequestDirector, "send", lambda request: request.url, lambda why: TransportError(cause=why))
    _check_first(HTTPAdapter, "send", lambda request: request.url, FailedConnection)
    _check_first(OpenerDirector, "open", lambda request: getattr(request, "full_url", request), URLError)


def _check_first(
    owner: type, name: str, url_of: Callable[[Any], str], error: Callable[[PrivateAddressError], Exception]
) -> None:
    """Let a method check the URL of the request that it gets; what it raises then is the error that yt-dlp expects."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def checked(self: Any, request: Any, *arguments: Any, **options: Any) -> Any:
        try:
            _require_public(url_of(request))
        except PrivateAddressError as private:
            raise error(private) from private
        return method(self, request, *arguments, **options)

    setattr(owner, name, checked)


def _require_public(url: str) -> None:
    """Refuse a URL whose host is this machine's or a private network's, as far as the URL alone tells it."""
    settings: Settings | None = getattr(_guarded, "settings", None)
    if settings is None:
        return
    try:
        parts = urlsplit(url)
        host, port = _as_asked_for(parts.hostname or ""), parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return  # nothing can be asked for by it
    if not host or _is_allowed(host, port, settings):
        return
    try:
        _public(host, port, flags=socket.AI_NUMERICHOST)  # an address in any notation; no resolver is asked
    except PrivateAddressError:
        raise
    except (OSError, UnicodeError):
        # By RFC 6761, and not every machine resolves it; a name of one label is of this machine or its networks.
        if host.endswith(".localhost") or ("." not in host and _has_proxy(settings)):
            raise PrivateAddressError(f"{host} is not an address of the internet") from None


def _as_asked_for(host: str) -> str:
    """A host as it is sent: in ASCII, where several letters and dots become the same."""
    host = unquote(host)
    with suppress(UnicodeError):
        host = host.encode("idna").decode()
    return host.lower().rstrip(".")


def _has_proxy(settings: Settings) -> bool:
    return bool(settings.proxy) or any(url for scheme, url in getproxies().items() if scheme != "no")


def _is_allowed(host: Any, port: Any, settings: Settings) -> bool:
    """The demo's channel, and what settings name: the proxy and the provider of PO tokens."""
    if (host, str(port)) == ("127.0.0.1", str(settings.demo_port)):
        return True
    proxies = [settings.proxy] if settings.proxy else getproxies().values()  # as yt-dlp takes them
    named = [urlsplit(url) for url in (*proxies, settings.pot_provider) if url]
    return any((host, str(port)) == (parts.hostname, str(parts.port or _PORTS.get(parts.scheme))) for parts in named)


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.split("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        # Addresses of the old internet in the new one's: behind a gateway they lead to what they hold.
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and any(address in network for network in _HOLD_IPV4):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast
