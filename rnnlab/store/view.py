"""What the MLflow UI shows of a sweep: its link, the columns and charts it opens with, and its description.

The keys of the view state are MLflow's own and undocumented (they hold for 3.17); an unknown one is ignored by the UI.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from rnnlab.store import KIND_TAG, STATUS_TAG, TRIAL

VIEW_KEY = "rnnlab"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_KEY}"
CHARTS = (("eval/accuracy", "LINE"), ("eval/relative_loss", "LINE"), ("train/gradient_norm", "LINE"))


def link(base: str, experiment_id: str) -> str:
    """The page of the MLflow UI at `base` that shows an experiment's runs with charts."""
    state = f"viewStateShareKey={quote(VIEW_KEY)}&compareRunsMode=CHART"
    return f"{base}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&{state}"


def view_state(axes: Sequence[str]) -> str:
    """The shared view of an experiment: runs averaged over seeds, grouped by the axes of its sweep."""
    grouped = [axis for axis in axes if axis != "seed"]
    charts = [_chart(str(i), metric, kind) for i, (metric, kind) in enumerate(CHARTS)]
    state: dict[str, Any] = {
        "searchFilter": f"tags.`{KIND_TAG}` = '{TRIAL}'",
        "orderByKey": "metrics.`eval/accuracy`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            *(f"params.`{axis}`" for axis in axes),
            "metrics.`eval/accuracy`",
            "metrics.`steps_to_solve`",
            f"tags.`{STATUS_TAG}`",
        ],
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "SHOWALL",
        "runListHidden": False,
        "compareRunCharts": charts,
        "compareRunSections": [{"uuid": "rnnlab", "name": "Learning", "display": True, "isReordered": False}],
        "isAccordionReordered": True,
        "groupBy": {
            "aggregateFunction": "average",
            "groupByKeys": [{"mode": "param", "groupByData": axis} for axis in grouped],
        }
        if grouped
        else None,
    }
    return json.dumps(state)


def _chart(uuid: str, metric: str, kind: str) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "type": kind,
        "runsCountToCompare": 100,
        "metricSectionId": "rnnlab",
        "deleted": False,
        "isGenerated": False,
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisKey": "step",
    }


def describe(plan: Iterable[tuple[str, str]], command: str) -> str:
    """A sweep's plan in Markdown; `plan` holds (what, value) pairs."""
    rows = "\n".join(f"| {_cell(what)} | {_cell(value)} |" for what, value in plan)
    return f"| plan | |\n| --- | --- |\n{rows}\n\nLaunched by\n\n```\n{command}\n```\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
