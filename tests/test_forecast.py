"""What a launch says it will cost, and what it says at its end."""

import re

import pytest
from builders import trial
from stores import QUICK, command_line

from rnnlab import forecast
from rnnlab.collector import Outcome
from rnnlab.cost import PROCESS_BYTES, RUN_SECONDS, START_SECONDS, duration, size, steps_worth
from rnnlab.forecast import Forecast, resources
from rnnlab.lengths import needed_bytes
from rnnlab.memory import peak_bytes
from rnnlab.store import sqlite_place
from rnnlab.store.reader import Reader
from rnnlab.stored import trial_of
from rnnlab.survey import Survey
from rnnlab.trial import shape_key

SMALL = {"max_steps": 10, "eval_every": 5, "eval_size": 8, "batch_size": 4, "hidden_size": 8}
LARGE = SMALL | {"hidden_size": 512, "delay": 100, "batch_size": 100, "eval_size": 100}


def test_no_more_workers_than_trials_and_none_less_than_one():
    assert resources([trial(**SMALL)], 8, None, None).workers == 1
    assert resources([trial(**SMALL, seed=s) for s in range(3)], 8, None, None).workers == 3
    assert resources([], 8, None, None).workers == 1


def test_workers_and_widths_fit_into_the_memory():
    trials = [trial(**LARGE, seed=s) for s in range(64)]
    for gigabytes in (0.6, 1.0, 2.0, 4.0):
        given = resources(trials, 4, gigabytes, None)
        used = given.workers * (PROCESS_BYTES + peak_bytes(trials[0], given.widths[shape_key(trials[0])]))
        assert used <= gigabytes * 1e9
    assert resources(trials, 4, 4.0, None).workers == 4
    assert resources(trials, 4, 0.6, None).workers == 1


def test_too_little_memory_is_refused_before_anything_is_written(monkeypatch, tmp_path, capsys):
    words = (*QUICK, "-m", "seed=0,1", "engine.memory_gb=0.1", f"store.path={tmp_path / 'new' / 'store.db'}")
    assert command_line(monkeypatch, *words) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"engine\.memory_gb=0\.1: must be >= 0\.\d+, for one trial of this sweep\n", said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "word", ["task.delay=9007199254740992", "model.hidden_size=1000000000", "train.batch_size=9007199254740992"]
)
def test_a_trial_that_fits_into_no_memory_is_refused(word, monkeypatch, tmp_path, capsys):
    assert command_line(monkeypatch, "train.max_steps=1", word, f"store.path={tmp_path / 'new' / 'store.db'}") == 2
    said = capsys.readouterr().err
    assert re.fullmatch(
        r"engine\.memory_gb=null \(\S+ that are free\): must be >= \S+, for one trial of this sweep\n", said
    )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def told(monkeypatch, tmp_path):
    """A forecast for trials of two shapes, with rates as if they had been measured: 1 s a step, 2 s a step."""
    trials = [trial(**SMALL, delay=d, seed=s) for d in (3, 9) for s in range(4)]
    rates = {shape_key(one): 1.0 if one.task.delay == 3 else 2.0 for one in trials}
    monkeypatch.setattr(forecast, "SHORT", 0.0)
    monkeypatch.setattr(forecast, "side_by_side", lambda *_: rates)
    survey = Survey(trials, sqlite_place(tmp_path / "store.db"))
    return trials, Forecast(survey.start("resume"), resources(trials, 2, None, None), survey, weights=True)


def test_the_first_screen_tells_time_memory_and_disk(told):
    _, found = told
    rows = dict(found.rows())
    # 4 x 10 x (1 + 2) s for 2 workers, and a start
    assert rows["execution"] == "2 shapes, stacks of 2, 2 workers"
    assert rows["time"] == "at most 1 min 10 s, calibrated on this machine"
    assert rows["memory"].startswith("about ")
    assert rows["disk"].startswith("at most ")


def test_the_end_tells_how_far_off_the_estimate_was_for_what_was_trained(told, monkeypatch):
    trials, found = told
    outcome = Outcome(trained={one.key: 5 for one in trials}, peaks=[2 * 10**8, 3 * 10**8, 10**8])
    monkeypatch.setattr(forecast.time, "monotonic", lambda: found.began + 20)
    rows = dict(found.against(outcome))
    assert rows["budget"] == "50% of the steps were needed"
    assert rows["time"].startswith("estimated 3")
    assert ", was 20 s (+" in rows["time"]
    assert ", was 500 MB" in rows["memory"], "of the workers that were there at once"


def test_a_dry_run_tells_a_time_and_a_memory_that_count_the_evaluations_at_other_lengths(monkeypatch, store, capsys):
    words = (*QUICK, "-m", "seed=0,1", "engine=inline", f"store.path={store}", "engine.progress=plain")
    assert command_line(monkeypatch, *words) == 0  # so that there are rates
    shapes = set(Reader(store).trials()["shape"])
    monkeypatch.setattr(Reader, "rates", lambda reader, host: dict.fromkeys(shapes, 10.0))
    planned = [trial_of(Reader(store), row) for row in Reader(store).trials().to_dict("records")]
    evaluating = sum(10.0 * steps_worth(one, [90000]) for one in planned)
    assert 10**4 < evaluating < 10**5, "it would be what takes the time"
    training = START_SECONDS + 2 * (4 * 10.0 + RUN_SECONDS)

    def told(*more: str) -> dict[str, str]:
        capsys.readouterr()
        assert command_line(monkeypatch, *words, *more, "engine.dry_run=true") == 0
        return dict(re.findall(r"^ *(time|memory|disk) +(.+?) *$", capsys.readouterr().err, re.MULTILINE))

    forced = "engine.mode=force"
    plain, more = told(forced), told(forced, "eval.lengths=[90000]")
    assert plain["time"] == f"at most {duration(training)}, from earlier runs"
    assert more["time"] == f"at most {duration(training + evaluating)}, from earlier runs"
    needed = f"about {size(PROCESS_BYTES + needed_bytes(planned[0], 90000))}"
    assert (plain["memory"], more["memory"]) == (f"about {size(PROCESS_BYTES)}", needed)
    assert plain["disk"] != more["disk"]
    assert told() == {}, "all is there"
    made_up = told("eval.lengths=[90000]")
    assert made_up["time"] == f"at most {duration(START_SECONDS + evaluating)}, from earlier runs"
    assert made_up["memory"] == needed


def test_the_evaluations_of_trials_that_were_solved_early_count_in_full(told, monkeypatch):
    trials, plain = told
    survey = Survey(trials, plain.place)
    found = Forecast(survey.start("resume"), plain.given, survey, True, asked=[10**4])
    outcome = Outcome(trained={one.key: 5 for one in trials})
    monkeypatch.setattr(forecast.time, "monotonic", lambda: found.began + found.estimate.seconds)
    rows = dict(found.against(outcome))
    assert rows["budget"] == "50% of the steps were needed"
    half_of_training = 4 * 5 * (1 + 2) / 2  # by two workers
    expected = found.estimate.seconds - half_of_training
    assert rows["time"].startswith(f"estimated {duration(expected)}, was ")
    assert expected > 10 * half_of_training


def test_rates_come_from_earlier_runs_on_this_machine(monkeypatch, store, capsys):
    words = (*QUICK, "-m", "seed=0,1", "engine=inline", f"store.path={store}", "engine.progress=plain")
    assert command_line(monkeypatch, *words) == 0
    assert "too little to calibrate" in capsys.readouterr().err
    (host,) = set(Reader(store).frame("adhoc")["host"])
    (rate,) = Reader(store).rates(host).values()
    assert 0 < rate < 10
    assert Reader(store).rates("another machine") == {}
    monkeypatch.setattr(forecast, "side_by_side", lambda *_: pytest.fail("there is no need"))
    assert command_line(monkeypatch, *words, "engine.mode=force") == 0
    said = capsys.readouterr().err
    assert re.search(r"time +at most .*, from earlier runs", said)
    assert re.search(r"time +estimated .*, was ", said)
    assert re.search(r"disk +estimated at most .*, was ", said)
