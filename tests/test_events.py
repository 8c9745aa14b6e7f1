"""Events cross a process boundary unchanged."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from localllm.events import Advanced, Event, Finished, Notice, Started, from_json, ignore, to_json

EVENTS = st.one_of(
    st.builds(Started, st.text(), st.none() | st.integers(0), st.sampled_from(["bytes", "tensors", "steps"])),
    st.builds(Advanced, st.text(), st.integers(0), st.text()),
    st.builds(Finished, st.text()),
    st.builds(Notice, st.text(), st.none() | st.text(), st.text(), st.booleans()),
)


@given(EVENTS)
def test_json_keeps_everything(event: Event) -> None:
    assert from_json(json.loads(json.dumps(to_json(event)))) == event


def test_the_json_is_pinned() -> None:
    assert to_json(Advanced("convert", 3, "blk.0")) == {
        "kind": "advanced",
        "step": "convert",
        "done": 3,
        "detail": "blk.0",
    }


def test_the_default_listener_drops_events() -> None:
    assert ignore(Finished("convert")) is None  # type: ignore[func-returns-value]
