"""Read a store without writing to it, as frames."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd

from rnnlab.frame import OBSERVATION, WHEN, rows_of, tidy
from rnnlab.record import RESULTS
from rnnlab.store import DIAGNOSTICS, NOTHING, SERVER, STATUS_TAG, SWEEP, TRIAL, Place, sqlite_place
from rnnlab.store.kinds import kind_of
from rnnlab.store.origins import Provenance, provenance
from rnnlab.store.plans import planned, plans
from rnnlab.store.rows import Rows, wide
from rnnlab.store.runs import Row, finished

# Of a run, but not in a frame
INTERNAL = ("mlflow_status", "started", "artifacts", "prefix", "shape", "launch", "heartbeat", "superseded")


class Reader:
    """The runs in a store, as frames. Raises `BadInput` where there is no store; a path is that of a SQLite file."""

    def __init__(self, where: Place | Path) -> None:
        self.place = where if isinstance(where, Place) else sqlite_place(where)
        self.kind = kind_of(self.place)
        self.kind.check_readable(self.place)

    @property
    def forkable(self) -> bool:
        """Whether forks of this process can read too: they would share its connections to a server."""
        return self.place.kind != SERVER

    def experiments(self) -> list[str]:
        """The sorted names of the experiments that hold trials or sweeps."""
        with self._rows() as rows:
            return sorted({name for kind in (TRIAL, SWEEP) for name in rows.runs(kind)["experiment"]})

    def frame(self, experiment: str) -> pd.DataFrame:
        """The tidy frame of an experiment: one row per trial key, sorted by it.

        A trial belongs to the experiment when it was run in it or when one of its sweeps planned it, wherever
        in the store its run lives. Of several runs of a key the newest finished one counts, else the newest.
        """
        with self._rows() as rows:
            chosen = _chosen(rows, experiment).set_index("run_id")
            params, metrics = rows.params(), rows.metrics()
        params, metrics = (wide(found[found["run_id"].isin(chosen.index)]) for found in (params, metrics))
        chosen["experiment"] = experiment
        found = chosen.drop(columns=list(INTERNAL))
        for more in (params.replace(NOTHING, None), metrics):  # what has a name twice is what it was first
            found = found.join(more.drop(columns=more.columns.intersection(found.columns)))
        return tidy(found.reset_index()).sort_values("key", ignore_index=True)

    def courses(self, experiment: str, metrics: Collection[str]) -> pd.DataFrame:
        """Metrics of the trials of `frame` over training: the columns `COURSE`, sorted by them.

        NaN where a value was not a number; of a point that was written twice the last.
        """
        with self._rows() as rows:
            keys = _chosen(rows, experiment).set_index("run_id")["key"]
            points = rows.courses(list(metrics))
        return _courses(points, keys)

    def observations(self, experiment: str, quantities: Collection[str]) -> pd.DataFrame:
        """Quantities of the networks of the trials of `frame`, as they were diagnosed: the columns `OBSERVATION`.

        Sorted by them. A file that cannot be read counts as missing.
        """
        found: list[tuple[object, ...]] = []
        with self._rows() as rows:
            for run, when in itertools.product(_chosen(rows, experiment).to_dict("records"), WHEN):
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                    file = rows.artifact(run, f"{DIAGNOSTICS}/{when}.json", self._downloads(run))
                    content = json.loads(file.read_text())
                    points = rows_of(content["observed"], quantities)
                    found += [(run["key"], when, content["step"], *point) for point in points]
        frame = pd.DataFrame(found, columns=list(OBSERVATION))
        frame = frame.astype(dict.fromkeys(("step", "index", "place", "value"), "float64"))
        return frame.sort_values(list(OBSERVATION[:-1]), ignore_index=True, kind="stable")

    def plans(self, experiment: str) -> dict[str, frozenset[str]]:
        """Run of each of the experiment's sweeps, in their order -> the keys of the trials that it planned."""
        with self._rows() as rows:
            return {run: frozenset(plan.keys) for run, plan in plans(rows, experiment).items()}

    def planned(self, experiment: str) -> pd.DataFrame:
        """The trials that any of the experiment's sweeps planned, sorted by `key`: it, `distance`, and their fields.

        These are as in `frame`; a distance that is not known is missing.
        """
        with self._rows() as rows:
            return planned(plans(rows, experiment).values(), rows)

    def provenance(self, experiment: str) -> Provenance:
        """Where the numbers of `frame` come from."""
        with self._rows() as rows:
            return provenance(rows, experiment, _chosen(rows, experiment))

    def result(self, run_id: str) -> tuple[str, int]:
        """(status, step) of a finished run: the step that solved it, or the last one."""
        with self._rows() as rows:
            steps, tags = rows.latest(run_id), rows.tags(run_id)
        step = steps.get("steps_to_solve", steps.get("trained_steps"))
        return tags[STATUS_TAG], int(step or 0)

    def finished(self) -> dict[str, str]:
        """Trial key -> id of the newest run that finished it, over the whole store."""
        return finished(self.trials())

    def trials(self) -> pd.DataFrame:
        """Every run of a trial, oldest first: the columns `RUN_COLUMNS`."""
        with self._rows() as rows:
            return rows.runs(TRIAL)

    def sweeps(self) -> pd.DataFrame:
        """Every run of a sweep, oldest first: the columns `RUN_COLUMNS`."""
        with self._rows() as rows:
            return rows.runs(SWEEP)

    def metrics(self, names: Collection[str]) -> dict[str, dict[str, float]]:
        """Run -> the last value of those of these metrics that it has, NaN where that was not a number; of all trials.

        A run without any of them is there too.
        """
        with self._rows() as rows:
            found: dict[str, dict[str, float]] = {run_id: {} for run_id in rows.runs(TRIAL)["run_id"]}
            wanted = rows.metrics()
        wanted = wanted[wanted["key"].isin(names) & wanted["run_id"].isin(found)]
        for run_id, key, value in wanted.itertuples(index=False):
            found[run_id][key] = value
        return found

    def params(self, run_id: str) -> dict[str, str]:
        """The fields of a run's trial, and what follows from them, as they were written."""
        with self._rows() as rows:
            return rows.params_of(run_id)

    def tags(self, run_id: str) -> dict[str, str]:
        """All tags of a run."""
        with self._rows() as rows:
            return rows.tags(run_id)

    def curves(self, run_id: str) -> pd.DataFrame:
        """Every recorded point of a run, by key and step: key, step, value (NaN where it was not a number)."""
        with self._rows() as rows:
            points = rows.points(run_id)
        return points.sort_values(["key", "step"], kind="stable", ignore_index=True)  # databases sort text as they like

    def rates(self, host: str) -> dict[str, float]:
        """Shape key -> median seconds for a training step of one model of a stack, over the runs on a machine."""
        with self._rows() as rows:
            runs = rows.runs(TRIAL)
            runs = runs[runs["status"].isin(RESULTS) & runs["shape"].notna() & (runs["host"] == host)].set_index(
                "run_id"
            )
            ends = rows.metrics()
        ends = wide(ends[ends["run_id"].isin(runs.index)]).reindex(columns=["seconds", "trained_steps"])
        rates = (ends["seconds"] / ends["trained_steps"])[ends["trained_steps"] > 0].dropna()
        by_shape = rates.groupby(runs["shape"].reindex(rates.index)).median()  # runs without a shape drop out
        return dict(zip(map(str, by_shape.index), by_shape, strict=True))

    def experiment_ids(self) -> dict[str, str]:
        """Name -> MLflow id of the experiments."""
        with self._rows() as rows:
            return rows.experiment_ids()

    def artifact(self, run: Row, name: str) -> Path:
        """The file of a run's artifact, which need not exist; `run` is a row of `trials` or `sweeps`.

        Must not change once it is there: of what a server keeps, a copy stays on this machine.
        """
        with self._rows() as rows:
            return rows.artifact(run, name, self._downloads(run))

    def _downloads(self, run: Row) -> Path:
        """Where artifacts of a run go that are not on this machine."""
        return self.place.sweeps / "downloads" / run["run_id"]

    def _rows(self) -> AbstractContextManager[Rows]:
        """One look at the store."""
        return self.kind.rows(self.place)


def _chosen(rows: Rows, experiment: str) -> pd.DataFrame:
    """The runs that count for an experiment, one for each key."""
    keys = {key for plan in plans(rows, experiment).values() for key in plan.keys}
    runs = rows.runs(TRIAL)
    return _one_per_key(runs[(runs["experiment"] == experiment) | runs["key"].isin(keys)])


def _courses(points: pd.DataFrame, keys: pd.Series) -> pd.DataFrame:
    """The columns `COURSE`, sorted, from `Rows.courses`; `keys` are those of the trials, by run.

    By numbers in the place of texts: there may be millions of points.
    """
    trials = pd.Index(sorted(keys.dropna()), dtype="str")
    runs, metrics = points["run_id"].cat, points["key"].cat
    place = trials.get_indexer(keys.reindex(runs.categories))[runs.codes]
    columns = (points["timestamp"].to_numpy(), points["step"].to_numpy(), metrics.codes.to_numpy(), place)
    order = np.lexsort(columns)[(place < 0).sum() :]  # those of other runs come first
    ends = np.any([np.diff(column[order], append=-1) != 0 for column in columns[1:]], axis=0)  # the last of each
    found = points.iloc[order[ends]]
    named = metrics.categories.astype("str").take(found["key"].cat.codes.to_numpy())
    names = {"key": trials.take(place[order[ends]]), "metric": named}
    return pd.DataFrame({**names, "step": found["step"].to_numpy("float64"), "value": found["value"].to_numpy()})


def _one_per_key(runs: pd.DataFrame) -> pd.DataFrame:
    """The newest finished run of each key, else the newest; `runs` is sorted by start."""
    ranked = runs.assign(finished=runs["status"].isin(RESULTS))
    newest = ranked.sort_values("finished", kind="stable").drop_duplicates("key", keep="last")
    return newest.drop(columns="finished")
