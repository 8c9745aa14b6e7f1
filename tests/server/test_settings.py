"""Where the server may listen and which keys it takes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from localllm.errors import LocalLLMError, NotFoundError, ServerError, UsageError
from localllm.server.keys import Keys, read_keys
from localllm.server.listening import listen, url_of
from localllm.server.settings import ServerSettings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_address_others_can_reach_needs_a_key(host: str) -> None:
    with pytest.raises(UsageError, match="needs a key"):
        ServerSettings(host=host)
    ServerSettings(host=host, keys=Keys(["k"]))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine_alone_needs_none(host: str) -> None:
    assert ServerSettings(host=host).is_loopback


@pytest.mark.parametrize("host", ["no such host", "", "256.1.1.1.1", "\ud800", "a" * 300])
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(LocalLLMError):
        ServerSettings(host=host)


@pytest.mark.parametrize("origin", ["page.example", "http://page.example/path", "http://", "http://a b", ""])
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(UsageError):
        ServerSettings(allowed_origins=(origin,))


def test_a_port_in_use_is_said() -> None:
    with listen(ServerSettings(port=0)) as taken:
        port = taken.getsockname()[1]
        assert url_of(taken) == f"http://127.0.0.1:{port}/v1"
        with pytest.raises(ServerError, match=f"port {port} of 127.0.0.1 is in use") as raised:
            listen(ServerSettings(port=port))
        assert "--port" in (raised.value.hint or "")


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_the_newer_addresses() -> None:
    try:
        opened = listen(ServerSettings(host="::1", port=0))
    except ServerError:
        pytest.skip("this machine has no IPv6")
    with opened:
        assert url_of(opened).startswith("http://[::1]:")


def test_keys_come_from_options_a_file_or_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys"
    file.write_text("# mine\nfrom-file\n\n  spaced  \n")
    monkeypatch.setenv("LOCALLLM_API_KEY", "from-variable")
    assert read_keys((), None).know("from-variable")
    keys = read_keys(("given",), file)
    assert all(map(keys.know, ("given", "from-file", "spaced")))
    assert not any(map(keys.know, ("from-variable", "# mine", "", "give", "given ", "gïven")))
    monkeypatch.delenv("LOCALLLM_API_KEY")
    assert not read_keys((), None)


@pytest.mark.parametrize("key", ["", "two words", "tab\t", "ключ"])
def test_keys_that_no_request_could_carry(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError):
        read_keys((key,), None)
    monkeypatch.setenv("LOCALLLM_API_KEY", key)
    with pytest.raises(UsageError):
        read_keys((), None)


def test_files_without_keys(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# none\n")
    with pytest.raises(UsageError, match="holds no key"):
        read_keys((), tmp_path / "empty")
    with pytest.raises(NotFoundError):
        read_keys((), tmp_path / "none")
    with pytest.raises(LocalLLMError):
        read_keys((), tmp_path)
