"""What a channel's URL must not lead to."""

import socket
from typing import Any

import pytest

from channelscribe.channels.addresses import PrivateAddressError, only_public_addresses
from channelscribe.channels.download import fetch
from channelscribe.channels.listing import list_channel
from channelscribe.errors import BadInputError
from channelscribe.settings import get_settings


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_ALLOW_PRIVATE_ADDRESSES", "false")
    get_settings.cache_clear()


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "::1",
        "fd00::1",
        "127.1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::127.0.0.1",
        "fec0::1",
        "224.0.0.1",
        "ff02::1",
    ],
)
def test_addresses_of_no_internet_are_refused(address: str) -> None:
    with only_public_addresses(), pytest.raises(PrivateAddressError, match="is not an address of the internet"):
        socket.getaddrinfo(address, 80)


@pytest.mark.usefixtures("guarded")
def test_addresses_of_the_internet_are_not() -> None:
    with only_public_addresses():
        assert socket.getaddrinfo("93.184.216.34", 80)


@pytest.mark.usefixtures("guarded")
def test_the_rest_of_the_process_connects_as_it_likes() -> None:
    with only_public_addresses():
        pass
    assert socket.getaddrinfo("127.0.0.1", 80)


@pytest.mark.usefixtures("guarded")
def test_a_channel_on_this_machine_is_refused_in_one_line(site: Any, tmp_path: Any) -> None:
    url = site.serve_feed("/feed", site.item("/a.wav", guid="urn:a"))
    for attempt in (lambda: list_channel(url), lambda: fetch(url, "bestaudio/best", tmp_path / "p", tmp_path)):
        with pytest.raises(BadInputError, match="leads to this machine or a private network") as caught:
            attempt()
        assert "CHANNELSCRIBE_ALLOW_PRIVATE_ADDRESSES" in str(caught.value) and "\n" not in str(caught.value)
    assert site.requests == []


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize(("proxy", "port"), [("http://10.0.0.1:3128", 3128), ("socks5://10.0.0.1", 1080)])
@pytest.mark.parametrize("variable", ["CHANNELSCRIBE_PROXY", "HTTPS_PROXY"])
def test_the_proxy_may_be_in_a_private_network(
    monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str, port: int
) -> None:
    monkeypatch.setenv(variable, proxy)
    get_settings.cache_clear()
    with only_public_addresses():
        assert socket.getaddrinfo("10.0.0.1", port)
        for other in (port + 1, None):
            with pytest.raises(PrivateAddressError):
                socket.getaddrinfo("10.0.0.1", other)


@pytest.mark.usefixtures("guarded")
def test_the_demos_channel_is_allowed(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANNELSCRIBE_DEMO_PORT", str(site.server.server_port))
    get_settings.cache_clear()
    found, _ = list_channel(site.serve_feed("/feed", site.item("/a.wav", guid="urn:a")))
    assert len(found) == 1


@pytest.mark.usefixtures("guarded")
def test_a_redirect_to_this_machine_is_refused(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's own site, which is allowed, sends to another port."""
    monkeypatch.setenv("CHANNELSCRIBE_DEMO_PORT", str(site.server.server_port))
    get_settings.cache_clear()
    url = site.serve("/old", b"", status=301)
    site.pages["/old"].headers["Location"] = f"http://127.0.0.1:{site.server.server_port + 1}/secret"
    with pytest.raises(BadInputError, match="leads to this machine"):
        list_channel(url)
