"""What stands first on a page says no more than the data do."""

import pandas as pd
import pytest
from frames import adding_sweep, architecture_sweep, copy_sweep, frame_of, with_status

from reports.combinations import Combinations, exact, number
from reports.headline import headline
from reports.headline_table import OPEN_CELLS
from reports.missing import missing
from rnnlab.record import DIVERGED, EXHAUSTED, RUNNING, SOLVED


def told(frame: pd.DataFrame) -> str:
    """The sentences of an experiment whose sweep planned what is there."""
    return " ".join(of(frame).sentences)


def of(frame: pd.DataFrame):
    return headline(frame, missing(frame, frame, {}))


def reaching(horizons: dict[float, float], **axes) -> pd.DataFrame:
    """Trials in which all seeds solve up to the horizon of their radius, and none beyond."""
    frame = frame_of(copy_sweep(**{"spectral_radius": list(horizons), "init": "gaussian"} | axes))
    solved = frame["distance"] <= frame["init.spectral_radius"].map(horizons)
    return with_status(with_status(frame, SOLVED, solved), EXHAUSTED, ~solved)


@pytest.mark.parametrize(
    ("cut", "whole", "part"),
    [
        (lambda distance: distance > 50, "more than 103 steps", "beyond all distances tested"),
        (lambda distance: distance < 10, "less than 8 steps", "nearer than any distance tested"),
    ],
    ids=["far", "near"],
)
def test_horizons_outside_of_different_distances_are_not_told_by_the_distance_of_one(cut, whole, part):
    frame = reaching({0.7: 1, 0.8: 1, 1.0: 30, 1.2: 999, 1.3: 999})
    fewer = frame["init.spectral_radius"].isin([0.7, 1.3]) & cut(frame["distance"])
    assert whole in told(frame)
    assert part in told(frame[~fewer])
    assert whole not in told(frame[~fewer])


def test_horizons_that_have_no_order_are_not_ranked():
    """Beyond 23 steps, where nothing farther was tried, may be more or less than 43."""
    frame = reaching({0.8: 999, 1.0: 50})
    some = told(frame[(frame["init.spectral_radius"] > 0.9) | (frame["distance"] < 30)])
    assert "cannot be ranked" in some
    assert "longest" not in some
    assert "the longest horizon is more than 103 steps" in told(frame)


@pytest.fixture(scope="module")
def halfway() -> pd.DataFrame:
    """Adding is over; of copy memory has ended what was solved within a quarter of the budget."""
    frame = frame_of([*copy_sweep(init="gaussian"), *adding_sweep(init="gaussian")])
    return with_status(frame, RUNNING, (frame["task"] == "copy") & ~(frame["steps_to_solve"] <= 500))


def test_while_trials_are_unfinished_the_first_sentence_says_what_that_means(halfway):
    first, *_ = of(halfway).sentences
    assert "those that solve early end first: shares and horizons are too high until all have ended" in first
    assert "too high" not in told(halfway[halfway["task"] == "adding"])


def test_of_a_task_with_unfinished_trials_nothing_is_concluded(halfway):
    some = told(halfway)
    assert "Adding problem: the longest horizon" in some
    assert "Copy memory" not in some
    assert "trials with a result were solved so far" in some
    assert "%)" not in some


def test_in_the_place_of_a_number_the_table_says_how_many_trials_have_ended(halfway):
    table = of(halfway).table.set_index("")
    trials = halfway[(halfway["task"] == "copy") & (halfway["init.spectral_radius"] == 1.2)]
    ended = (trials["status"] != RUNNING).sum()
    assert 0 < ended < len(trials)
    assert table.loc["copy memory", "radius 1.2"] == f"{ended} of {len(trials)} ended"
    assert "ended" not in "".join(table.loc["adding problem"])
    assert "how many have ended" in of(halfway).note


def test_shares_have_no_number_while_trials_are_unfinished():
    frame = frame_of(copy_sweep(delay=[10, 20], init="gaussian"))
    frame = with_status(frame, RUNNING, frame["seed"] > 2)
    assert of(frame).table.set_index("").loc["copy memory"].tolist() == ["6 of 10 ended"] * 4
    assert "share" not in " ".join(of(frame).sentences[1:])
    assert of(frame).note == OPEN_CELLS


def in_rows(*rows: tuple[float, float, float]) -> pd.DataFrame:
    """Copy memory by radius 0.8, 1.0 and 1.2: so many of five seeds solve it, in a row for each clip threshold."""
    clips = [0.1, 1.0, 10.0, None][-len(rows) :]
    frame = frame_of(copy_sweep(delay=10, init="gaussian", spectral_radius=[0.8, 1.0, 1.2], clip_threshold=clips))
    place = frame["train.clip_threshold"].map({clip: row for row, clip in enumerate(clips[:-1])}).fillna(len(rows) - 1)
    column = frame["init.spectral_radius"].map({0.8: 0, 1.0: 1, 1.2: 2})
    solved = [seed < rows[int(r)][c] for seed, r, c in zip(frame["seed"], place, column, strict=True)]
    chosen = pd.Series(solved, index=frame.index)
    return with_status(with_status(frame, SOLVED, chosen), EXHAUSTED, ~chosen)


WINNERS = {
    "in each of two": (
        [(1, 2, 3), (2, 3, 4)],
        "1.2 does best in both rows and radius 0.8 does worst in both rows.",
    ),
    "in more than half, else tied": (
        [(1, 2, 3), (0, 2, 3), (2, 3, 3)],
        "1.2 does best in 2 of 3 rows (tied in 1)",
    ),
    "in all of them": ([(0, 2, 1)] * 3, "radius 1 does best in all 3 rows and radius 0.8 does worst in all 3 rows."),
    "in half of them": ([(3, 2, 1), (1, 2, 3)], ""),
    "in one, tied in the other": ([(1, 2, 3), (1, 3, 3)], "radius 0.8 does worst in both rows."),
    "in none, as all rows are ties": ([(0, 0, 0), (5, 5, 5)], ""),
    "in half, the other half being ties of all": ([(1, 2, 3), (1, 2, 3), (0, 0, 0), (0, 0, 0)], ""),
}


@pytest.mark.parametrize("case", WINNERS)
def test_a_value_is_said_to_do_best_where_it_does_alone_in_more_than_half_of_all_rows(case):
    rows, words = WINNERS[case]
    some = told(in_rows(*rows))
    assert words in some
    assert ("does" in some) == bool(words) == ("By the estimates, whose intervals may overlap, " in some)
    assert " or radius" not in some


def test_what_is_told_by_the_same_digits_is_a_tie():
    points = Combinations(frame_of(copy_sweep())).points.dropna(subset="horizon")
    assert len(points) > 4
    for point in points.to_dict("records"):
        assert point["rank"] == float(number(point["horizon"]))


def test_combinations_that_are_equal_are_named_as_long_as_they_are_few():
    few, many = told(in_rows((5, 5, 1), (5, 5, 1))), told(in_rows((5, 5, 1), (5, 5, 1), (5, 0, 0)))
    assert "100 % (clip 10 · radius 0.8, clip 10 · radius 1, clip off · radius 0.8 and clip off · radius 1)" in few
    assert "100 % (5 of 9 combinations)" in many
    assert "setting" not in few + many


@pytest.mark.parametrize(("steps", "text"), [(6.94, "6.9"), (8.0, "8.0"), (9.97, "10"), (1234.6, "1,235")])
def test_steps_have_a_decimal_below_ten_whatever_it_is(steps, text):
    assert number(steps) == text


@pytest.mark.parametrize(("distance", "text"), [(6.0, "6"), (12.5, "12.5"), (1020.0, "1,020")])
def test_a_distance_tested_is_told_exactly(distance, text):
    assert exact(distance) == text


def test_budgets_are_told_by_task_where_they_differ():
    adding = adding_sweep(init="gaussian", max_steps=600)
    assert Combinations(frame_of([*copy_sweep(max_steps=600), *adding])).budget() == "600 training steps"
    differing = Combinations(frame_of([*copy_sweep(max_steps=400), *adding]))
    assert differing.budget() == "600 (adding problem) or 400 (copy memory) training steps"
    assert differing.budget("copy") == "400 training steps"


def test_a_table_with_more_columns_than_rows_and_than_fit_is_turned():
    table = of(frame_of(architecture_sweep())).table
    assert list(table.columns) == ["", "adding problem", "copy memory"]
    assert table[""].tolist()[0] == "elman"
    assert len(table) == 8
    assert list(of(frame_of(copy_sweep())).table.columns)[1:] == ["radius 0.5", "radius 0.8", "radius 1", "radius 1.2"]


def test_of_many_rows_the_best_are_shown_and_none_is_needed_to_have_a_number():
    rates = [0.001 * place for place in range(1, 15)]
    axes = {"learning_rate": rates, "clip_threshold": [1.0, None], "spectral_radius": 1.0, "init": "gaussian"}
    frame = frame_of(copy_sweep(delay=10, seed=[0, 1], **axes))
    found = of(frame)
    assert len(found.table) == 12
    assert found.note.endswith("The 12 best of 14 rows.")
    unknown = of(with_status(frame, RUNNING))
    assert len(unknown.table) == 12
    assert unknown.note.endswith("The 12 first of 14 rows.")


def test_where_trials_diverged_is_told_by_the_values_to_which_that_is_confined():
    frame = in_rows((0, 1, 2), (1, 2, 3), (2, 3, 4))
    assert "diverged" not in told(frame)
    off = frame["train.clip_threshold"].isna()
    some = told(with_status(frame, DIVERGED, off & (frame["init.spectral_radius"] >= 1)))
    assert (
        "10 of 45 trials diverged, which counts as not solved: all of them with clip off and radius 1 or radius 1.2."
        in some
    )
    everywhere = told(with_status(frame, DIVERGED, frame["seed"] == 0))
    assert "9 of 45 trials diverged, which counts as not solved." in everywhere


def test_the_task_is_named_in_the_rows_of_a_table_where_there_are_several():
    assert of(in_rows((0, 1, 2), (1, 2, 3))).table[""].tolist() == ["clip 10", "clip off"]
    two = frame_of([*copy_sweep(delay=10, init="gaussian"), *adding_sweep(length=10, init="gaussian")])
    assert of(two).table[""].tolist() == ["adding problem", "copy memory"]
