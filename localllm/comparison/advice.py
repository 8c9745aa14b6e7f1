"""What the figures of a comparison allow to say, in words; where error bars overlap nothing is ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from localllm.benchmark import clearly_apart
from localllm.comparison.measurement import Advice, Measurement, Settings, Uncertain
from localllm.evaluation.uncertain import NORMAL_975
from localllm.units import format_bytes

# two processes on one machine differ by about so much, whatever the error bars within each say
_SAME_SPEED = 0.03
_FEWEST_REPETITIONS = 3  # with two, speeds that differ fivefold may count as equal


def advise(
    measurements: Sequence[Measurement],
    settings: Settings,
    *,
    fits: Mapping[str, bool],
    context_size: int,
    undecided: Sequence[tuple[str, str]] = (),
) -> Advice:
    """Return what follows from `measurements`, smallest file first.

    `fits` tells for each level whether it can be run here with a context of `context_size` tokens.
    """
    sound = [row for row in measurements if row.error is None]
    levels = [row for row in sound if not row.is_reference]
    smallest, loss = _smallest(levels, settings)
    fastest, speed = _fastest(sound)
    fitting = tuple(row.level for row in sound if fits.get(row.level, False))
    sentences = [
        *loss,
        *speed,
        *_fit_sentences([row.level for row in sound if row.level in fits], fitting, context_size),
        *_undecided_sentences(undecided),
    ]
    return Advice(
        smallest=None if smallest is None else smallest.level,
        fastest=fastest,
        fitting=fitting,
        context_size=context_size,
        sentences=tuple(sentences),
    )


def listed(names: Sequence[str]) -> str:
    """Return names as people list them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# the loss -----------------------------------------------------------------------------------


def _smallest(levels: Sequence[Measurement], settings: Settings) -> tuple[Measurement | None, list[str]]:
    """Return the smallest level that keeps the loss for certain, and what there is to say about that."""
    measured = [row for row in levels if row.kl_divergence is not None and row.same_top_token is not None]
    if not measured:
        return None, []
    certain = next((row for row in measured if _keeps(row, settings, sign=-1)), None)
    below = measured[: measured.index(certain)] if certain is not None else measured
    perhaps = [row.level for row in below if _keeps(row, settings, sign=1)]
    sentences = [_loss_sentence(certain, settings)]
    if perhaps:
        who = f"{listed(perhaps)}, smaller still," if certain is not None else listed(perhaps)
        sentences.append(
            f"{who} may keep it too: the limit lies within the error bars, and more text would tell"
        )
    return certain, sentences


def _keeps(row: Measurement, settings: Settings, *, sign: int) -> bool:
    """Tell whether a level keeps the loss: with sign -1 for certain, with sign 1 perhaps (95 %)."""
    assert row.kl_divergence is not None
    assert row.same_top_token is not None
    top, divergence = row.same_top_token, row.kl_divergence
    return (
        top.value + sign * NORMAL_975 * top.stderr >= settings.min_same_top_token
        or divergence.value - sign * NORMAL_975 * divergence.stderr <= settings.max_kl_divergence
    )


def _loss_sentence(row: Measurement | None, settings: Settings) -> str:
    limit = (
        f"(the same most probable token in at least {100 * settings.min_same_top_token:g} %, "
        f"or a KL divergence of at most {settings.max_kl_divergence:g})"
    )
    if row is None:
        return f"No level keeps the allowed loss for certain {limit}"
    assert row.kl_divergence is not None
    assert row.same_top_token is not None
    size = "" if row.size_bytes is None else f", {format_bytes(row.size_bytes)}"
    if row.share_of_reference is not None:
        size += f", {100 * row.share_of_reference:.0f} % of the reference"
    return (
        f"{row.level} is the smallest that keeps the allowed loss {limit}: the same most probable token in "
        f"{_percent(row.same_top_token)}, a KL divergence of {_number(row.kl_divergence)}{size}"
    )


def _percent(quantity: Uncertain) -> str:
    return f"{100 * quantity.value:.1f} ± {100 * NORMAL_975 * quantity.stderr:.1f} %"


def _number(quantity: Uncertain) -> str:
    return f"{quantity.value:.3g} ± {NORMAL_975 * quantity.stderr:.1g}"


# speed --------------------------------------------------------------------------------------


def _fastest(rows: Sequence[Measurement]) -> tuple[tuple[str, ...], list[str]]:
    """Return the levels that generate as fast as the fastest, as far as can be told."""
    speeds = {
        row.level: row.generation_tokens_per_second
        for row in rows
        if row.generation_tokens_per_second is not None
    }
    if len(speeds) < 2:
        return tuple(speeds), []
    fewest = min(len(speed.samples) for speed in speeds.values())
    if fewest < _FEWEST_REPETITIONS:
        few = "One repetition says" if fewest == 1 else "Two repetitions say"
        return (), [f"{few} too little about the error: which level is the fastest is left open"]
    best = max(speeds, key=lambda level: speeds[level].value)
    tied = tuple(
        level
        for level, speed in speeds.items()
        if level == best or not clearly_apart(speeds[best].samples, speed.samples, least_share=_SAME_SPEED)
    )
    rate = f"about {_rounded(speeds[best].value)} tokens per second"
    if len(tied) == len(speeds):
        return tied, ["All levels answer equally fast, as far as can be told"]
    if len(tied) == 1:
        return tied, [f"{best} answers fastest: {rate}"]
    return tied, [f"{listed(tied)} answer fastest and cannot be told apart: {rate}"]


def _rounded(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


# memory, and what is left open --------------------------------------------------------------


def _fit_sentences(levels: Sequence[str], fitting: Sequence[str], context: int) -> list[str]:
    where = f"this machine's free memory with a context of {context} tokens"
    too_large = [level for level in levels if level not in fitting]
    if not levels:
        return []
    if not fitting:
        return [f"None of them fits {where}"]
    if not too_large:
        return [f"{'All of them fit' if len(levels) > 1 else 'It fits'} {where}"]
    return [f"{listed(fitting)} {'fits' if len(fitting) == 1 else 'fit'} {where}; {listed(too_large)} not"]


def _undecided_sentences(undecided: Sequence[tuple[str, str]]) -> list[str]:
    """Name levels whose quality could not be told apart, neighbours in a row together."""
    rows: list[list[str]] = []
    for left, right in undecided:
        if rows and rows[-1][-1] == left:
            rows[-1].append(right)
        else:
            rows.append([left, right])
    return [
        f"The quality of {listed(row)} could not be told apart on this text"
        if len(row) == 2
        else f"The quality of {listed(row)}, each from the next, could not be told apart on this text"
        for row in rows
    ]
