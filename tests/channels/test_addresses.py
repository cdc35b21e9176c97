"""What a channel's URL must not lead to."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from channelscribe.channels import addresses
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


@pytest.fixture
def proxy(site: Any, monkeypatch: pytest.MonkeyPatch, guarded: None) -> Any:
    """The site as a proxy: it gets whole URLs. This machine is asked for no name, whatever it would say."""

    def resolve(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        assert host == "127.0.0.1" or options.get("flags") == socket.AI_NUMERICHOST, f"{host} was resolved"
        return resolve_really(host, port, *arguments, **options)

    resolve_really = addresses._resolve
    monkeypatch.setattr(addresses, "_resolve", resolve)
    monkeypatch.setenv("CHANNELSCRIBE_PROXY", site.url)
    get_settings.cache_clear()
    return site


@pytest.fixture(params=["requests", "urllib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What yt-dlp asks by."""
    from yt_dlp.networking.common import _REQUEST_HANDLERS

    if request.param == "urllib":
        monkeypatch.delitem(_REQUEST_HANDLERS, "Requests")


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.5",
        "127.1",
        "[::1]:8080",
        "localhost",
        "a.localhost",
        "localhost.",
        "169.254.169.254",
        "intranet",
        "a.b\u3002localhost",
    ],
)
@pytest.mark.usefixtures("library")
def test_no_proxy_is_asked_for_a_private_address(proxy: Any, tmp_path: Any, host: str) -> None:
    url = f"http://{host}/feed.xml"
    for attempt in (lambda: list_channel(url), lambda: fetch(url, "bestaudio/best", tmp_path / "p", tmp_path)):
        with pytest.raises(BadInputError, match="leads to this machine or a private network"):
            attempt()
    assert proxy.requests == []


@pytest.mark.parametrize("host", ["public.example", "93.184.216.34"])
@pytest.mark.usefixtures("library")
def test_a_proxy_is_asked_for_what_may_be_of_the_internet(proxy: Any, host: str) -> None:
    url = f"http://{host}/feed.xml"
    proxy.serve_feed(url, proxy.item("/a.mp3", guid="urn:a"))
    assert len(list_channel(url)[0]) == 1
    assert [path for path, _ in proxy.requests] == [url]


@pytest.mark.usefixtures("library")
def test_no_proxy_is_asked_for_a_private_address_that_a_site_redirects_to(proxy: Any) -> None:
    url = "http://public.example/feed.xml"
    proxy.serve(url, b"", status=302)
    proxy.pages[url].headers["Location"] = "http://10.0.0.5/secret"
    with pytest.raises(BadInputError, match="leads to this machine"):
        list_channel(url)
    assert {path for path, _ in proxy.requests} == {url}


@pytest.mark.usefixtures("guarded")
def test_without_a_proxy_a_name_without_a_dot_is_what_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with only_public_addresses():
        addresses._require_public("http://intranet/")
        for url in ("http://a.localhost/", "http://127.1/"):
            with pytest.raises(PrivateAddressError):
                addresses._require_public(url)


def test_no_ffmpeg_is_started_for_a_stream(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor

    program, started = tmp_path / "bin" / "ffmpeg", tmp_path / "started"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho ffmpeg version 7.1\ntouch {started}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(FFmpegPostProcessor, "_version_cache", {None: None})
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI=key\n#EXTINF:5,\na.ts\n"
    url = site.serve("/a.m3u8", playlist + "#EXT-X-ENDLIST\n", "application/vnd.apple.mpegurl")
    with pytest.raises(BadInputError, match="is a stream that ffmpeg alone could download"):
        fetch(url, "bestaudio/best", tmp_path / "p", tmp_path)
    assert not started.exists()
    assert {path for path, _ in site.requests} == {"/a.m3u8"}
