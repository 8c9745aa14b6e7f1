"""The page in a real browser: both plots are seen, nothing is complained about, no request leaves it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from localllm.report.page import to_html
from tests.report.examples import HOSTILE_RESULT, TWELVE

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, _BROWSERS)), None)
_BLUE, _ORANGE = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)  # K-quants and legacy, light
_DARK_BLUE, _DARK_ORANGE = (0x56, 0xB4, 0xE9), (0xF0, 0x88, 0x3E)
_MARKER = 40  # pixels that a level's marker has at least, together with the others of its family
_DARK = "--blink-settings=preferredColorScheme=0"

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome on PATH"),
    pytest.mark.timeout(180),
]


@dataclass(frozen=True)
class Visit:
    """What a browser showed, what it complained about, and what the page asked other machines for."""

    picture: Path
    complaints: list[str]
    requests: list[str]


def visit(directory: Path, html: str, width: int, height: int, *options: str) -> Visit:
    """Open a page in a headless browser. What the browser itself wants from the network is not counted."""
    page, picture, log = directory / "page.html", directory / "seen.png", directory / "net.json"
    page.write_text(html, encoding="utf-8")
    done = subprocess.run(
        [
            BROWSER or "",
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND",  # nothing is reached, whoever asks
            "--enable-logging=stderr",
            f"--log-net-log={log}",
            f"--user-data-dir={directory / 'profile'}",
            f"--window-size={width},{height}",
            f"--screenshot={picture}",
            *options,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    assert picture.is_file(), done.stderr[-2000:]
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Visit(picture, complaints, _requests(log))


def _requests(log: Path) -> list[str]:
    """Return the addresses that pages asked for; requests of the browser itself have no origin."""
    text = log.read_text(encoding="utf-8").rstrip()
    recorded = json.loads(text if text.endswith("}") else text.rstrip(",\n") + "]}")
    parameters = [event.get("params", {}) for event in recorded["events"]]
    found = {
        each["url"]
        for each in parameters
        if "url" in each and each.get("initiator", "not an origin") != "not an origin"
    }
    return sorted(address for address in found if not address.startswith(("file:", "data:")))


def colours(picture: Path, box: tuple[float, float, float, float]) -> Counter[tuple[int, ...]]:
    """Return how many pixels have which colour, in a part of the picture given in fractions."""
    from PIL import Image

    image = Image.open(picture).convert("RGB")
    left, top, right, bottom = box
    part = image.crop(
        (
            round(left * image.width),
            round(top * image.height),
            round(right * image.width),
            round(bottom * image.height),
        )
    )
    return Counter({colour: count for count, colour in part.getcolors(1 << 24) or ()})


@pytest.mark.parametrize(
    ("options", "blue", "orange"),
    [((), _BLUE, _ORANGE), ((_DARK,), _DARK_BLUE, _DARK_ORANGE)],
    ids=["light", "dark"],
)
def test_on_a_desktop_the_plots_are_side_by_side(
    tmp_path: Path, options: tuple[str, ...], blue: tuple[int, ...], orange: tuple[int, ...]
) -> None:
    seen = visit(tmp_path, to_html(TWELVE), 1300, 900, *options)
    assert seen.complaints == []
    assert seen.requests == []
    for half in ((0, 0.4, 0.5, 1), (0.5, 0.4, 1, 1)):
        found = colours(seen.picture, half)
        assert found[blue] > _MARKER
        assert found[orange] > _MARKER


_LOOK_INSIDE = ("--disable-web-security", "--allow-file-access-from-files")
_IN_A_FRAME = """
<body style="margin:0"><iframe style="width:360px;height:1300px;border:0" src="{page}"></iframe>
<script>
document.querySelector("iframe").addEventListener("load", (event) => {{
  const page = event.target.contentDocument, table = page.querySelector("table.sortable");
  const first = () => table.tBodies[0].rows[0].cells[0].textContent.trim();
  const said = [page.documentElement.scrollWidth];
  const headings = [...table.querySelectorAll("th button")];
  const heading = headings.find((each) => each.textContent === "KL divergence");
  for (let times = 0; times < 2; times++) {{
    heading.click();
    said.push(heading.parentElement.getAttribute("aria-sort"), first());
  }}
  console.log("FOUND " + JSON.stringify(said) + " END");
}});
</script>
"""


def test_on_a_phone_they_are_below_each_other(tmp_path: Path) -> None:
    """In a frame, because a window is never narrower than 500 pixels."""
    (tmp_path / "phone").mkdir()
    page = tmp_path / "phone.html"
    page.write_text(to_html(TWELVE), encoding="utf-8")
    frame = _IN_A_FRAME.format(page=page.as_uri())
    seen = visit(tmp_path / "phone", frame, 600, 1300, *_LOOK_INSIDE)
    (said,) = seen.complaints
    found = json.loads(said.partition("FOUND ")[2].partition(" END")[0])
    assert found == [360, "ascending", "Q8_0", "descending", "Q2_K"]  # no wider than the phone; sorted
    for part in ((0, 0.35, 0.6, 0.65), (0, 0.68, 0.6, 1)):
        inside = colours(seen.picture, part)
        assert inside[_BLUE] > _MARKER
        assert inside[_ORANGE] > _MARKER
    beside = colours(seen.picture, (0.61, 0, 1, 1))
    assert set(beside) == {(255, 255, 255)}


def test_hostile_names_do_nothing(tmp_path: Path) -> None:
    seen = visit(tmp_path, to_html(HOSTILE_RESULT), 1300, 900)
    assert seen.complaints == []
    assert seen.requests == []


def test_a_page_that_does_what_it_must_not_is_noticed(tmp_path: Path) -> None:
    """Or the other tests would prove nothing."""
    html = '<img src="http://127.0.0.1:9/x.png"><script>console.error("no")</script>'
    seen = visit(tmp_path, html, 600, 300)
    assert len(seen.complaints) >= 1
    assert seen.requests == ["http://127.0.0.1:9/x.png"]
