"""What the guides say beside their programs: links, options, addresses, fields, a task file's line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from localllm.comparison.tasks import read_task
from localllm.server.chat_fields import ChatFields
from tests.cli.process import localllm
from tests.guides.page import DIRECTORY, NAMES, text_of
from tests.server.conftest import Server
from tests.server.http import exchange, request

_LINK = re.compile(r"\]\(([^)#:]+)(?:#([\w-]+))?\)")
_COMMAND = re.compile(r"localllm (serve|chat|compare|quantize)\b([^`\n]*)")
_OPTION = r"--[a-z][a-z-]+"
_QUOTED = re.compile(r"`([^`]+)`")
_VALUES = {"system", "developer", "user", "assistant", "tool", "text", "json_object", "json_schema"}


@pytest.mark.parametrize("page", NAMES)
def test_links_lead_somewhere(page: str) -> None:
    for path, anchor in _LINK.findall(text_of(page)):
        target = (DIRECTORY / path).resolve()
        assert target.exists(), path
        assert not anchor or anchor in _anchors(target), f"{path}#{anchor}"


def _anchors(page: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    headings = re.findall(r"^##* (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_commands_have_the_options_that_are_named() -> None:
    named: dict[str, set[str]] = {}
    for page in NAMES:
        for command, rest in _COMMAND.findall(text_of(page)):
            named.setdefault(command, set()).update(re.findall(_OPTION, rest))
    named["serve"] |= set(re.findall(f"`({_OPTION})", text_of("server.md")))
    assert len(named["serve"]) > 8
    for command, options in named.items():
        known = set(re.findall(_OPTION, localllm(command, "--help").stdout))
        assert options <= known, f"{command}: {sorted(options - known)}"


def test_the_server_has_the_addresses_and_answers_the_request_of_its_page(demo: Server) -> None:
    page = text_of("server.md")
    addresses = re.findall(r"^\| `(/\S+)` \|", page, re.MULTILINE)
    assert len(addresses) == 6
    for address in addresses:
        status, _ = exchange(demo, f"GET {address} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert status in (200, 405), address
    body = re.search(r"-d '(.+?)'", page)
    assert body is not None
    status, answer = exchange(demo, request(body[1].encode()))
    assert status == 200
    assert b"single-file model format" in answer


def test_the_fields_that_are_named_exist() -> None:
    table = text_of("openai-client.md").partition("## What is understood")[2].partition("\n\n|")[2]
    named = set(_QUOTED.findall(table.partition("\n\n")[0])) - _VALUES - {"extra_body"}
    assert len(named) > 20
    assert named <= set(ChatFields.model_fields)


def test_a_task_file_is_written_like_that(tmp_path: Path) -> None:
    line = next(line for line in text_of("choosing.md").splitlines() if line.strip().startswith("{"))
    (tmp_path / "questions.jsonl").write_text(line.strip(), encoding="utf-8")
    (question,) = read_task(tmp_path / "questions.jsonl").questions
    assert question.is_right("Defects, for two years.")
