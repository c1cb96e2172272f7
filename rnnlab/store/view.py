"""What the MLflow UI shows of an experiment: its link, the columns, groups and charts it opens with, its description.

The keys of the view state are MLflow's own and undocumented (they hold for 3.17); an unknown one is ignored by the UI.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from rnnlab.store import DISTANCE, KIND_TAG, REPORT_FILE, STATUS_TAG, TRIAL

VIEW_KEY = "rnnlab"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_KEY}"
TRAINING = "workflowType=machine_learning"  # of the two faces of the UI the one that has runs
VERSION = "3"  # of views and descriptions; rises where they change, so that those of old experiments are made anew
PAGE = 100  # runs that the UI loads at a time
MOST_GROUPS = 60  # lines of a chart, or points of one, that a reader can still tell apart
SEED = "seed"
AGAINST, OVER = "against", "over"  # the two sections of charts
ROW = 3  # charts beside each other on a screen
SHARE = "solved"  # 1 where a run solved its task: the average is the share of runs that did
POINTS = (SHARE, "steps_to_solve", "eval/accuracy")  # at the end of runs
CURVES = (("eval/relative_loss", "log"), ("eval/accuracy", "linear"), ("train/gradient_norm", "log"))

GROUPED = (
    "Runs are grouped by {groups}. Charts and rows show the average over a group: over seeds, and over all that differs"
    " beside these. The average of `solved` is the share of the group that solved its task, that of `steps_to_solve` is"
    ' over those that did. Lines have a band from the least to the greatest. "Group by" above the list changes or ends'
    " this."
)
AVERAGED = (
    "Only what is loaded is averaged. A run ends when its task is solved, so the later part of an averaged line is of"
    " the runs that have not solved theirs."
)
LOADED = (
    f"MLflow loads {PAGE} runs at a time, here seed by seed: of more runs a part is seen at first, and"
    ' "Load more" below the list adds the next.'
)
CONCLUDED = (
    "What can be concluded, with intervals, is in the report. It is with the run of a named sweep that is complete;"
    " `python -m reports.build {name}` draws it at any time, `attach=true` puts it there."
)


@dataclass(frozen=True)
class View:
    """How the runs of an experiment are laid out; all names are those of params.

    axes:   the fields in which trials differ, as columns; without those that follow from others
    groups: those of which each combination of values is one line or point, averaged over the others and over seeds
    across: what the charts of points have from left to right; empty: there are none
    upward: what a map of the share that solved has beside `across`; empty: there is none
    """

    axes: tuple[str, ...]
    groups: tuple[str, ...]
    across: str = DISTANCE
    upward: str = ""


PLAIN = View(("task", DISTANCE, "init", "init.spectral_radius", SEED), ())  # before there is a sweep


def link(base: str, experiment_id: str) -> str:
    """The page of the MLflow UI at `base` that shows an experiment's runs with charts."""
    state = f"viewStateShareKey={quote(VIEW_KEY)}&compareRunsMode=CHART"
    return f"{base}/#/experiments/{experiment_id}/runs?{TRAINING}&{state}"


def view_of(axes: Sequence[str], trials: Sequence[Mapping[str, Any]]) -> View:
    """The view that suits these trials, which differ in `axes`; each is given by its fields and its `distance`.

    Grouped by task and distance and by the axes with the most values, as long as the groups are few.
    """
    names = [name for name in axes if name != SEED]
    settings = list({tuple(trial.get(name) for name in (*names, DISTANCE)): trial for trial in trials}.values())
    columns = _independent(names, settings)
    groups = [name for name in ("task", DISTANCE) if _combinations(settings, [name]) > 1]
    first = len(groups)
    others = [name for name in columns if name not in groups]
    for name in sorted(others, key=lambda name: -_combinations(settings, [name])):
        count = _combinations(settings, [*groups, name])
        if count > _combinations(settings, groups) and (count <= MOST_GROUPS or len(groups) == first):
            groups.append(name)
    numeric = [name for name in groups if all(type(trial.get(name)) in (int, float) for trial in settings)]
    across = DISTANCE if DISTANCE in groups else next(iter(numeric), "")
    upward = numeric[1] if len(groups) == len(numeric) == 2 else ""  # of more, several groups would be at one place
    return View((*columns, SEED), tuple(groups), across, upward)


def _independent(names: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names without those that follow from the ones before them, as a learning rate from the task."""
    found: list[str] = []
    for name in names:
        if _combinations(settings, [*found, name]) > _combinations(settings, found):
            found.append(name)
    return found


def _combinations(settings: Sequence[Mapping[str, Any]], names: Sequence[str]) -> int:
    return len({tuple(setting.get(name) for name in names) for setting in settings})


def view_state(view: View) -> str:
    """The view as the UI reads it.

    Runs are sorted by seed: of a sweep with more of them than are loaded at a time, whole seeds are seen, where an
    order by results would show the best of each group.
    """
    grouped = [{"mode": "param", "groupByData": axis} for axis in view.groups]
    metrics = (SHARE, "eval/accuracy", "steps_to_solve", "trained_steps")
    state: dict[str, Any] = {
        "searchFilter": f"tags.`{KIND_TAG}` = '{TRIAL}'",
        "orderByKey": f"params.`{SEED}`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            *(f"params.`{axis}`" for axis in view.axes),
            f"tags.`{STATUS_TAG}`",
            *(f"metrics.`{metric}`" for metric in metrics),
        ],
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "SHOW_ALL",
        "runListHidden": False,
        "compareRunCharts": [*[*_map(view), *_points(view)][:ROW], *_curves()],
        "compareRunSections": _sections(view),
        "isAccordionReordered": True,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": grouped} if grouped else None,
    }
    return json.dumps(state)


def _sections(view: View) -> list[dict[str, Any]]:
    averaged = ", average of each group" if view.groups else ""
    names = {AGAINST: f"Against {view.across}{averaged}", OVER: f"Over training steps{averaged}"}
    shown = [AGAINST, OVER] if view.across else [OVER]
    return [{"uuid": uuid, "name": names[uuid], "display": True, "isReordered": False} for uuid in shown]


def _map(view: View) -> list[dict[str, Any]]:
    """The share that solved, over two axes."""
    if not view.upward:
        return []
    axes = {"xaxis": _param(view.across), "yaxis": _param(view.upward), "zaxis": _metric(SHARE)}
    return [_chart(AGAINST, "map", {"type": "CONTOUR", **axes})]


def _points(view: View) -> list[dict[str, Any]]:
    """Charts of metrics at the end of runs against a param."""
    if not view.across:
        return []
    axes = [{"xaxis": _param(view.across), "yaxis": _metric(metric)} for metric in POINTS]
    return [_chart(AGAINST, axis["yaxis"]["key"], {"type": "SCATTER", **axis}) for axis in axes]


def _param(name: str) -> dict[str, str]:
    return {"key": name, "type": "PARAM"}


def _metric(name: str) -> dict[str, str]:
    return {"key": name, "type": "METRIC"}


def _curves() -> list[dict[str, Any]]:
    """Charts of metrics over training."""
    common = {"type": "LINE", "lineSmoothness": 0, "xAxisKey": "step", "displayPoints": False}
    return [
        _chart(OVER, metric, {**common, "metricKey": metric, "selectedMetricKeys": [metric], "scaleType": scale})
        for metric, scale in CURVES
    ]


def _chart(section: str, name: str, kind: Mapping[str, Any]) -> dict[str, Any]:
    common = {"runsCountToCompare": PAGE, "metricSectionId": section, "deleted": False, "isGenerated": False}
    return {"uuid": f"{section} {name}", **common, **kind}


def describe(plan: Iterable[tuple[str, str]], command: str) -> str:
    """A sweep's plan in Markdown; `plan` holds (what, value) pairs."""
    rows = "\n".join(f"| {_cell(what)} | {_cell(value)} |" for what, value in plan)
    return f"| plan | |\n| --- | --- |\n{rows}\n\nLaunched by\n\n```\n{command}\n```\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def describe_experiment(name: str, experiment_id: str, view: View, trials: int, sweep: str = "", plan: str = "") -> str:
    """The description of an experiment in Markdown; the UI shows its first line, and the rest when that is opened.

    `sweep` is the id of the run of its last sweep, `plan` that run's own description.
    """
    run = f"#/experiments/{experiment_id}/runs/{sweep}"
    report, planned = (f"{page}?{TRAINING}" for page in (f"{run}/artifacts/{REPORT_FILE}", run))
    where = f" [Report]({report}) · [plan, command and versions]({planned}) ·" if sweep else ""
    part = f', at first {PAGE} are shown ("Load more" is below the list)' if trials > PAGE else ""
    counted = f" {trials} trials{part}." if trials else ""
    first = f"**{name}**:{counted}{where} open this text to see how to read the page"
    return "\n\n".join([first, *_reading(name, view), *(["**The last sweep**", plan] if plan else [])]) + "\n"


def _reading(name: str, view: View) -> list[str]:
    """How to read the page, in paragraphs."""
    grouped = [GROUPED.format(groups=_listed(view.groups))] if view.groups else []
    loaded = f"{LOADED} {AVERAGED}" if view.groups else LOADED
    return [*grouped, loaded, CONCLUDED.format(name=shlex.quote(name))]


def _listed(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[:-1] else quoted)
