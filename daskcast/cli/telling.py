"""What the commands say: progress, one entity, one line of a log.

Covers texts for a terminal; whatever an id or a message holds, no control character reaches it.
Does not cover the closing summary (``api.Run.summary``) or the page (``report``).
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from daskcast.redact import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from daskcast.progress import Progress
    from daskcast.store import EntityView
    from daskcast.tracking import TrackingSummary
    from daskcast.tracking.prune import OldRun

logger = logging.getLogger(__name__)

_STAGES = {
    "check": "checking the options",
    "read": "reading",
    "cluster": "starting the workers",
    "warm-up": "warming up",
    "folder": "making the run folder",
    "work": "forecasting",
    "report": "writing the report",
    "tracking": "tracking",
}
_OFTEN_S, _SELDOM_S = 0.1, 10.0

#: Forms of a blend that are named one by one.
_N_FORMS = 8
#: below, residuals are told to hold a pattern
_SMALL_P = 0.05

_ORIGINS = {
    "design": "first points",
    "ask": "asked of the optimizer",
    "portfolio": "of a portfolio",
}
_MIDNIGHT = " 00:00:00"


class LogStream:
    """A stream whose lines are logged: progress and endings where nobody looks at a terminal."""

    def isatty(self) -> bool:
        """Say that nothing can be written over."""
        return False

    def write(self, text: str) -> None:
        """Log a line."""
        logger.info("%s", text.rstrip())

    def flush(self) -> None:
        """Do nothing: a record is out at once."""


class ProgressLine:
    """One line that is written over on a terminal; elsewhere a line a stage, and now and then.

    Parameters
    ----------
    stream : file
        Such as ``sys.stderr``.
    """

    def __init__(self, stream: TextIO | LogStream) -> None:
        self._stream = stream
        self._overwrites = stream.isatty()
        self._every_s = _OFTEN_S if self._overwrites else _SELDOM_S
        self._last_s = -math.inf
        self._stage = ""

    def __enter__(self) -> ProgressLine:
        """Begin."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Leave an empty line behind on a terminal, unless it has closed."""
        if self._overwrites:
            with suppress(OSError):
                self._stream.write("\r\x1b[K")
                self._stream.flush()

    def __call__(self, progress: Progress) -> None:
        """Tell, unless something was told just now."""
        now = time.monotonic()
        last = progress.stage == "work" and progress.counts.done == progress.counts.entities
        entered = progress.stage != self._stage
        if now - self._last_s < self._every_s and not last and not entered:
            return
        self._last_s, self._stage = now, progress.stage
        start, end = ("\r\x1b[K", "") if self._overwrites else ("", "\n")
        self._stream.write(f"{start}{progress_text(progress)}{end}")
        self._stream.flush()


def progress_text(progress: Progress) -> str:
    """Tell where a run stands, in one line.

    Examples
    --------
    >>> from daskcast.progress import Counts, Progress
    >>> progress_text(Progress("work", Counts(2000, 990, 8, 2, 5), seconds=4.0))
    'forecasting: 1,000 of 2,000 entities, 8 fallback, 2 failed, 250/s, 4 s left'
    """
    stage = _STAGES.get(progress.stage, progress.stage)
    counts = progress.counts
    if progress.stage == "tracking":
        return f"{stage}: {progress.n_tracked:,} of {counts.entities:,} entities"
    if progress.stage != "work" or not counts.entities:
        return stage
    text = (
        f"{stage}: {counts.done:,} of {counts.entities:,} entities, "
        f"{counts.fallback:,} fallback, {counts.failed:,} failed"
    )
    n_new = counts.done - progress.n_before
    if n_new <= 0 or progress.seconds <= 0:
        return text
    rate = n_new / progress.seconds
    return f"{text}, {rate:,.0f}/s, {_duration((counts.entities - counts.done) / rate)} left"


def tracked_text(summary: TrackingSummary) -> str:
    """Tell what of a run is in the tracking store, and what is not and why.

    Examples
    --------
    >>> from daskcast.tracking import TrackingInfo, TrackingSummary
    >>> info = TrackingInfo(uri="http://mlflow:5000", experiment="airports", run_id="a1")
    >>> print(tracked_text(TrackingSummary(info=info, n_sent=60)))
    tracked    60 entities, 0 not
    mlflow     http://mlflow:5000, experiment airports, run a1
    """
    info = summary.info
    where = info.run_url or (f"run {info.run_id}" if info.run_id else "no run")
    lines = [f"tracked    {summary.n_sent:,} entities, {summary.n_failed:,} not"]
    if summary.stopped:
        lines.append(f"stopped    {printable(summary.stopped)}")
    lines.append(f"mlflow     {info.uri}, experiment {printable(info.experiment)}, {where}")
    return "\n".join(lines)


def old_run_text(run: OldRun) -> str:
    """Tell of a run in the tracking store how old it is, and how much is below it.

    Examples
    --------
    >>> from daskcast.tracking.prune import OldRun
    >>> old_run_text(OldRun(run_id="a1", name="airports", start_ms=0, below=("b", "c")))
    '1970-01-01 00:00  airports (a1), 2 runs below it'
    """
    moment = datetime.fromtimestamp(run.start_ms / 1000, UTC)
    told = f"{printable(run.name)} ({run.run_id}), {len(run.below):,} runs below it"
    return f"{moment:%Y-%m-%d %H:%M}  {told}"


def _duration(seconds: float) -> str:
    if seconds < 100:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    if seconds < 6000:  # noqa: PLR2004
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def log_line(record: Mapping[str, Any]) -> str:
    """Write a log record as text, its traceback below it."""
    about = f" [{printable(record['entity'])}]" if record.get("entity") else ""
    head = f"{printable(record.get('time', ''))} {printable(record.get('level', ''))}{about}"
    lines = [f"{head} {printable(record.get('message', ''))}"]
    lines += [f"    {printable(line)}" for line in str(record.get("traceback", "")).splitlines()]
    return "\n".join(lines)


def entity_text(view: EntityView) -> str:
    """Tell all that a run knows of one entity."""
    lines = [
        f"{printable(view.unique_id)}: {view.status}",
        *_failure(view),
        f"observations  {view.n_obs:,}",
        *([f"model         {printable(view.model)}"] if view.model else []),
        *_blend(view.blend),
        *_scores(view),
        *_search(view),
        f"work          {view.seconds:.3f} s, attempt {view.attempt}, "
        f"batch {printable(view.batch)}",
        *[f"check         {printable(told)}" for told in _checks(view)],
        *_forecasts(view.forecasts),
        *[f"log           {log_line(record)}" for record in view.logs],
    ]
    return "\n".join(lines)


def _failure(view: EntityView) -> list[str]:
    if view.failure is None:
        return []
    lines = [
        f"reason        {printable(view.failure.error_type)}: {printable(view.failure.message)}"
    ]
    return lines + [f"    {printable(line)}" for line in view.failure.traceback.splitlines()]


def _blend(blend: Sequence[tuple[str, float]]) -> list[str]:
    """Name the heaviest forms; nothing where one form has it all."""
    if len(blend) < 2:  # noqa: PLR2004
        return []
    shown = blend[:_N_FORMS]
    lines = [f"  {weight:6.3f}  {printable(form)}" for form, weight in shown]
    rest = sum(weight for _, weight in blend[_N_FORMS:])
    return lines + ([f"  {rest:6.3f}  and {len(blend) - _N_FORMS} more"] if rest else [])


def _scores(view: EntityView) -> list[str]:
    scores, windows = view.scores, str(view.checks.get("windows") or "")
    if not scores.n_windows:
        reason = windows.removeprefix("none: ").replace("none wanted", "no windows were wanted")
        return [f"no scores:    {printable(reason)}"] if reason else []
    errors = {"RMSSE": scores.cv_rmsse, "sMAPE": scores.cv_smape}
    told = [f"{name} {_score(value)}" for name, value in errors.items() if not math.isnan(value)]
    if not math.isnan(scores.cv_mase):
        naive = f"naive {_score(scores.naive_mase)}, skill {_score(scores.skill)}"
        told.insert(0, f"MASE {_score(scores.cv_mase)} ({naive})")
    what = ", ".join(told) or "none is defined"
    held, _, why = windows.partition(": ")
    note = [f"fewer windows: {printable(why)}"] if why else []
    return [f"scores        {printable(held or scores.n_windows)} windows: {what}", *note]


def _search(view: EntityView) -> list[str]:
    if not view.trials:
        return []
    origins = view.checks.get("trials") or {}
    how = [f"{n} {_ORIGINS.get(origin, origin)}" for origin, n in sorted(origins.items())]
    told = [f"{len(view.trials)} trials" + (f" ({printable(', '.join(how))})" if how else "")]
    told += [f"stopped by {printable(view.stopped_by)}"] if view.stopped_by else []
    loss = view.scores.tune_loss
    told += [] if math.isnan(loss) else [f"lowest loss {_score(loss)}"]
    return [f"search        {', '.join(told)}"]


def _checks(view: EntityView) -> list[str]:
    """Tell the checks in words; what is as it should be, and what stands elsewhere, is left out."""
    found = {k: value for k, value in view.checks.items() if k not in ("windows", "trials")}
    told = []
    if (better := found.pop("beats_seasonal_naive", None)) is not None:
        told.append(f"{'better' if better else 'not better'} than seasonal naive on the windows")
    if missing := found.pop("missing", None):
        steps = view.n_obs + missing
        told.append(f"{missing:,} of {steps:,} steps are missing ({100 * missing / steps:.0f} %)")
    if n_tuned := found.pop("tuned", None):
        told.append(f"tuned at {n_tuned} of the windows")
    if shares := found.pop("coverage", None):
        held = ", ".join(
            f"{100 * x:.0f} % in the {level} % interval" for level, x in shares.items()
        )
        told.append(f"of what came on the windows {held}")
    told += found.pop("not_modelled", None) or ()
    if (p_value := found.pop("ljung_box", None)) is not None:
        left = "a pattern is left" if p_value < _SMALL_P else "no pattern is seen"
        told.append(f"{left} in the residuals of the heaviest form (Ljung-Box, p {p_value:.2g})")
    if n_left := found.pop("left_out", None):
        told.append(f"forms left out, as they do not fit or leave the past too far: {n_left}")
    if bounds := found.pop("non_negative", None):
        told.append(f"not below zero: {bounds}")
    told += [f"repaired: {repair}" for repair in found.pop("repairs", None) or ()]
    if found.pop("reproducible", None) is False:
        told.append("not reproducible: a time limit stopped the search")
    if found.pop("scale_defined", None) is False:
        told.append("the seasonal naive error is zero or unknown: no MASE on some windows")
    return told + [f"{name}: {value}" for name, value in found.items() if not _is_empty(value)]


def _is_empty(value: object) -> bool:
    return value is None or value in ("", [], {})


def _score(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3f}"


def _forecasts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return ["forecast      none"]
    names = [name for name in rows[0] if name not in ("unique_id", "ds", "cutoff")]
    rows = sorted(rows, key=lambda row: (row["cutoff"], row["ds"]))
    times, head = _dates([row["ds"] for row in rows]), "time"
    if "y" in names:  # of a backtest
        cutoffs, head = _dates([row["cutoff"] for row in rows]), "cutoff, time"
        times = [f"{cutoff}, {time}" for cutoff, time in zip(cutoffs, times, strict=True)]
    width = max(len(head), *map(len, times))
    lines = ["forecast      " + "  ".join([head.ljust(width), *[name.rjust(14) for name in names]])]
    for told, row in zip(times, rows, strict=True):
        numbers = [" " * 13 + "-" if row[name] is None else f"{row[name]:14,.2f}" for name in names]
        lines.append("              " + "  ".join([told.ljust(width), *numbers]))
    return lines


def _dates(times: Sequence[object]) -> list[str]:
    """Write times, without the time of day where that is midnight."""
    told = [str(time) for time in times]
    short = all(text.endswith(_MIDNIGHT) for text in told)
    return [text.removesuffix(_MIDNIGHT) for text in told] if short else told
