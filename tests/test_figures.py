"""Each figure applies where it has something to show, and its numbers and captions are those of the frame."""

import math

import pytest
from frames import (
    adding_sweep,
    architecture_sweep,
    capacity_sweep,
    clipping_sweep,
    copy_sweep,
    diagnosed,
    ended_badly,
    flow_sweep,
    frame_of,
    given,
    scale_sweep,
    sensor_sweep,
    sweep,
    truncation_sweep,
    unlucky,
    with_lags,
    with_lengths,
    with_status,
)

from reports import distances, lines, words
from reports.figures import (
    capacity,
    cost,
    endings,
    event_distance,
    figures,
    generalisation,
    horizon,
    learnability,
    learning_curves,
    meant_for,
    prediction,
    radius_clip,
    time_to_solve,
    truncation,
)
from rnnlab.record import DIVERGED, EXHAUSTED, FAILED, RUNNING, SOLVED
from rnnlab.registry import registry

COPY = frame_of(copy_sweep(seed=range(4), init="gaussian"))
CLIPS = frame_of(clipping_sweep())
WINDOWS = frame_of(truncation_sweep())
SIZES = frame_of(capacity_sweep())
SENSORS = frame_of(sensor_sweep())
CELLS = frame_of(architecture_sweep(seed=[0]))
LENGTHS = with_lengths(frame_of(sweep(task="copy", delay=20, cell=["elman", "gru"], seed=range(3))), [10, 20, 40])
LAGS = with_lags(frame_of(adding_sweep(seed=range(4), init="gaussian")))
FLOW = diagnosed(frame_of(flow_sweep()))
NETWORKS = diagnosed(
    frame_of(copy_sweep(seed=range(4), delay=[5, 20, 60], init="gaussian", spectral_radius=[0.5, 1.0]))
)
SCALES = {"input_scale": [0.1, 0.5, 2.0], "init": "gaussian", "spectral_radius": [0.5, 1.2]}
SETTINGS = diagnosed(frame_of(copy_sweep(seed=range(4), delay=[5, 20, 60], **SCALES)))
OF_NETWORKS = ("gradient_flow", "spectrum", "unrolled")

EVERYWHERE = ("time_to_solve", "learning_curves", "cost", "coverage")
MEANT_FOR = {  # beside those
    "demo_copy": (COPY, ["learnability", "horizon"]),
    "learnability": (
        frame_of(copy_sweep(seed=[0], init="gaussian", clip_threshold=[1.0, None])),
        ["learnability", "horizon", "radius_clip", "endings"],
    ),
    "truncation": (WINDOWS, ["truncation"]),
    "architectures": (CELLS, ["learnability"]),
    "depth": (frame_of(sweep(task="copy", delay=[5, 10, 20], layers=[1, 2])), ["learnability"]),
    "hidden_size": (SIZES, ["capacity", "learnability"]),
    "clipping": (CLIPS, ["endings", "learnability", "radius_clip"]),
    "comparison": (
        frame_of(copy_sweep(seed=range(6), init="gaussian")),
        ["learnability", "horizon", "differences"],
    ),
    "sensor": (SENSORS, ["event_distance", "learnability"]),
    "dynamics": (NETWORKS, ["dynamics", "learnability", "horizon", *OF_NETWORKS]),
    "prediction": (SETTINGS, ["prediction", "learnability", "horizon", *OF_NETWORKS, "dynamics", "vanishing"]),
    "spectrum": (diagnosed(SIZES), ["spectrum", "learnability", "gradient_flow", "unrolled", "capacity", "dynamics"]),
    "unrolled": (diagnosed(SIZES), ["unrolled", "learnability", "gradient_flow", "spectrum", "capacity", "dynamics"]),
    "by_lag": (LAGS, ["learnability", "horizon", "error_by_lag"]),
    "length_generalisation": (LENGTHS, ["generalisation", "learnability"]),
    "gradient_flow": (
        FLOW,
        ["gradient_flow", "learnability", "horizon", "spectrum", "unrolled", "dynamics", "prediction"],
    ),
    "diagnosis": (FLOW, ["gradient_flow", "spectrum", "dynamics", "learnability", "horizon", "unrolled", "prediction"]),
    "vanishing": (
        diagnosed(frame_of(scale_sweep())),
        ["vanishing", "learnability", "horizon", *OF_NETWORKS, "dynamics", "prediction"],
    ),
}


@pytest.mark.parametrize("experiment", MEANT_FOR)
def test_a_page_has_the_figures_of_its_sweep_and_its_claim_first(experiment):
    frame, expected = MEANT_FOR[experiment]
    names = list(meant_for(frame, experiment))
    assert [name for name in names if name not in EVERYWHERE] == expected
    assert [name for name in names if name in EVERYWHERE] == list(EVERYWHERE)
    assert names[-1] == "coverage"


def test_every_figure_is_on_some_page():
    assert {*EVERYWHERE, *(name for _, names in MEANT_FOR.values() for name in names)} == set(figures())


def set_status(frame, statuses):
    """The first trials of a frame end as listed, the others exhaust their budget."""
    frame = with_status(frame, EXHAUSTED)
    for row, status in enumerate(statuses):
        frame = with_status(frame, status, frame.index == row)
    return frame


# Learnability


def test_at_one_distance_the_values_of_the_lines_stand_side_by_side():
    frame = COPY[COPY["distance"] == COPY["distance"].min()].reset_index(drop=True)
    figure = learnability.draw(frame)
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.5", "0.8", "1.0", "1.2"]
    drawn = {float(line.get_xdata()[0]): line.get_ydata()[0] for line in ax.lines if line.get_label() == "_points"}
    assert drawn == dict(enumerate(learnability.table(frame)["rate"]))
    assert not figure.legends
    told = learnability.caption(frame)
    assert "8 (copy memory), against the initial spectral radius" in told
    assert "one line" not in told
    assert "a little apart" not in told


# Horizon


def test_horizons_outside_stand_beyond_the_distances_tested_and_the_axis_says_so():
    points, (ax,) = horizon.table(COPY), horizon.draw(COPY).axes
    (line,) = [line for line in ax.lines if not line.get_label().startswith("_")]
    tested = distances.Axis(COPY["distance"], lines=1)
    below, above = tested.beyond(horizon.OUTSIDE)
    assert below < COPY["distance"].min()
    assert above > COPY["distance"].max()
    assert line.get_ydata() == pytest.approx(points["horizon"].tolist(), nan_ok=True)  # no line leads outside
    arrows = [text.xyann[1] for text in ax.texts if text.arrow_patch is not None]
    expected = [{"<": below, ">": above}[where] for where in points["outside"] if where]
    assert arrows == pytest.approx(expected)
    assert len(arrows) == points["horizon"].isna().sum() > 0
    assert "<" in set(points["outside"])
    assert ax.get_yticks().tolist() == sorted(set(COPY["distance"]))


def test_a_line_per_hidden_size_and_panels_for_the_rest():
    frame = frame_of(copy_sweep(hidden_size=[16, 64], clip_threshold=[1.0, None], seed=[0], init="gaussian"))
    figure = horizon.draw(frame)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["16", "64"]
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["copy memory · clip 1", "copy memory · clip off"]


def test_the_caption_of_the_horizon_says_what_was_measured_not_what_is_expected():
    ranked = "rank correlation of radius and horizon (Spearman, of 4 radii)"
    assert f"the longest horizon is at radius 1.2; {ranked} 1.00." in horizon.caption(COPY)
    radius = COPY["init.spectral_radius"]
    turned = COPY.assign(**{"init.spectral_radius": 1.7 - radius})
    told = horizon.caption(turned)
    assert f"the longest horizon is at radius 0.5; {ranked} \N{MINUS SIGN}1.00." in told
    two = horizon.caption(frame_of(copy_sweep(hidden_size=[16, 64], seed=[0, 1], init="gaussian")))
    assert "(Spearman, of 4 radii in each of 2 settings)" in two


# Spectral radius against clip threshold


def test_a_cell_holds_the_horizon_or_where_few_distances_were_tested_the_rate():
    assert radius_clip.by_horizon(MEANT_FOR["learnability"][0])
    assert not radius_clip.by_horizon(CLIPS)
    points = radius_clip.table(CLIPS)
    texts = [text.get_text() for text in radius_clip.draw(CLIPS).axes[0].texts]
    shown = sorted(f"{100 * rate:.0f}" for rate in points["rate"])
    assert sorted(text for text in texts if text and "div" not in text) == shown
    lost = points[points["diverged"] > 0]
    assert sum("div." in text for text in texts) == len(lost) > 0


def test_the_rate_of_a_pair_is_over_all_its_distances():
    frame = unlucky(CLIPS)
    points = radius_clip.table(frame)
    for row in points.to_dict("records"):
        clip = frame["train.clip_threshold"].eq(row["train.clip_threshold"]) | (
            frame["train.clip_threshold"].isna() & math.isnan(row["train.clip_threshold"])
        )
        trials = frame[clip & (frame["init.spectral_radius"] == row["init.spectral_radius"])]
        counted = trials["status"].isin((SOLVED, EXHAUSTED, DIVERGED)).sum()
        assert row["counted"] == counted
        assert row["rate"] == pytest.approx((trials["status"] == SOLVED).sum() / counted)
        assert row["diverged"] == (trials["status"] == DIVERGED).sum()


def test_a_task_without_distances_does_not_lend_its_numbers_to_another():
    pairs = {"clip_threshold": [1.0, None], "spectral_radius": [0.5, 1.0], "seed": range(2)}
    frame = frame_of([*sweep(task="adding", length=10, **pairs), *sweep(task="copy", delay=[5, 10, 20], **pairs)])
    solved = frame["init.spectral_radius"].eq(1.0) & frame["train.clip_threshold"].isna()
    frame = with_status(with_status(frame, DIVERGED), SOLVED, solved)
    frame = frame.assign(distance=frame["distance"].where(frame["task"] == "copy"))
    points = radius_clip.table(frame)
    assert points["task"].eq("copy").all()
    assert points["rate"].tolist() == [0, 0, 0, 1]
    assert points["diverged"].tolist() == [6, 6, 6, 0]


def test_the_pair_named_in_the_caption_is_the_best():
    frame = frame_of(sweep(task="copy", delay=10, clip_threshold=[1.0, None], spectral_radius=[0.5, 1.0]))
    best = frame["train.clip_threshold"].isna() & (frame["init.spectral_radius"] == 0.5)
    frame = with_status(with_status(frame, EXHAUSTED), SOLVED, best)
    assert "Copy memory, the largest number: radius 0.5 with clip off (100 %)." in radius_clip.caption(frame)
    assert "largest" not in radius_clip.caption(with_status(frame, EXHAUSTED))
    assert "largest" not in radius_clip.caption(with_status(frame, RUNNING, ~best))


def test_each_panel_has_its_best_pairs_in_the_caption_with_their_number():
    frame = frame_of(
        sweep(
            task="copy", delay=[5, 10, 20], clip_threshold=[1.0, None], spectral_radius=[0.5, 1.0], hidden_size=[8, 16]
        )
    )
    small, farther = frame["model.hidden_size"] == 8, frame["init.spectral_radius"] == 1.0
    far, off = frame["distance"] > 20, frame["train.clip_threshold"].isna()
    frame = with_status(frame, SOLVED)
    frame = with_status(frame, EXHAUSTED, small & (far | ~farther))
    frame = with_status(frame, EXHAUSTED, ~small & (~off | farther) & (frame["distance"] > 10))
    points = radius_clip.table(frame)
    (horizon,) = set(points["horizon"][(points["model.hidden_size"] == 8) & (points["init.spectral_radius"] == 1.0)])
    told = radius_clip.caption(frame)
    assert f"8 units, radius 1 with clip 1 or off ({horizon:.0f}); 16 units, radius 0.5 with clip off (>23)." in told
    assert "diverged" not in told
    assert "Intervals of the horizons: the table" in told
    assert "below it the share that diverged" in radius_clip.caption(with_status(frame, DIVERGED, far))


def test_horizons_below_ten_have_a_decimal_and_tested_distances_none():
    row = {"horizon": 9.4, "outside": "", "nearest": 3.0, "farthest": 63.0, "rate": 0.5}
    rows = [row, row | {"horizon": 9.96}, row | {"outside": ">"}, row | {"outside": "<"}]
    assert [radius_clip._value(one, horizons=True)[1] for one in rows] == ["9.4", "10", ">63", "<3"]


# Endings


def test_bars_are_the_shares_of_the_endings():
    frame = frame_of(sweep(task="copy", delay=10, clip_threshold=[1.0], seed=range(5)))
    frame = set_status(frame, [SOLVED, SOLVED, DIVERGED])
    (row,) = endings.table(frame).to_dict("records")
    assert (row[SOLVED], row[EXHAUSTED], row[DIVERGED], row["counted"]) == (2, 2, 1, 5)
    bars = endings.draw(frame).axes[0].patches
    assert [bar.get_height() for bar in bars] == pytest.approx([0.4, 0.4, 0.2])
    assert [bar.get_y() for bar in bars] == pytest.approx([0, 0.4, 0.8])
    assert "solved were 40 % with clip 1 (20 % diverged)." in endings.caption(frame)
    assert "solved were 40 % with clip 1." in endings.caption(set_status(frame, [SOLVED, SOLVED]))


def test_the_radii_of_a_setting_stand_in_a_row_and_only_endings_that_there_are_in_the_legend():
    frame = frame_of(clipping_sweep(hidden_size=[16, 64], spectral_radius=[0.5, 0.8, 1.0, 1.2, 1.3], seed=[0, 1]))
    figure = endings.draw(frame)
    places = [ax.get_subplotspec() for ax in figure.axes]
    assert [(place.rowspan.start, place.colspan.start) for place in places] == [divmod(i, 5) for i in range(10)]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0.1", "1", "10", "off"]
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "diverged"
    calm = with_status(frame, EXHAUSTED, frame["status"] == DIVERGED)
    assert "diverged" not in [text.get_text() for text in endings.draw(calm).legends[0].get_texts()]
    uneven = frame[(frame["init.spectral_radius"] < 1.1) | (frame["model.hidden_size"] == 16)]
    assert len(endings.draw(uneven).axes) == 8


def test_the_share_solved_has_an_interval_at_one_distance_alone():
    assert endings.table(CLIPS)["low"].isna().all()
    one = CLIPS[CLIPS["distance"] == CLIPS["distance"].min()]
    assert endings.table(one)["low"].notna().all()
    assert "Wilson" in endings.caption(one)
    assert "Wilson" not in endings.caption(CLIPS)


# Truncation


def test_each_window_is_marked_where_the_distance_equals_it():
    ax = truncation.draw(WINDOWS).axes[0]
    marked = [line.get_xdata()[0] for line in ax.lines if line.get_label() == "_window"]
    assert marked == [10, 20, 40]  # 5 is nearer than any distance tested


def test_memory_stands_beside_the_rates_where_the_store_knows_it():
    table = truncation.table(WINDOWS)
    assert table.groupby("train.truncation", dropna=False)["train_bytes"].max().is_monotonic_increasing
    assert len(truncation.draw(WINDOWS).axes) == 2
    unknown = WINDOWS.drop(columns="train_bytes")
    assert len(truncation.draw(unknown).axes) == 1
    assert "Right: the memory" in truncation.caption(WINDOWS)
    assert "Right: the memory" not in truncation.caption(unknown)


def test_the_caption_of_truncation_counts_what_was_solved_within_and_beyond_the_window():
    trials = sweep(task="copy", delay=[2, 17], truncation=[10, None], seed=range(2))  # distances 5 and 20
    frame = with_status(frame_of(trials), EXHAUSTED)
    windowed = frame["train.truncation"].notna()
    frame = with_status(frame, SOLVED, ~windowed | (windowed & (frame["distance"] == 20) & (frame["seed"] == 0)))
    told = truncation.caption(frame)
    assert "0 % were solved of 2 trials at distances up to the window, 50 % were solved of 2 trials beyond it" in told
    assert "at the distances of the latter the full window solves 100 %" in told


def test_the_caption_of_truncation_tells_how_far_each_window_reaches():
    trials = sweep(task="copy", delay=[2, 6, 13], truncation=[5, 10, None], seed=range(4))  # distances 5, 9 and 16
    frame = with_status(frame_of(trials), EXHAUSTED)
    near, window = frame["distance"] <= 9, frame["train.truncation"]
    frame = with_status(frame, SOLVED, ((window == 10) & near) | window.isna())
    told = truncation.caption(frame)
    expected = "copy memory: < 5 with window 5, 12 with window 10 and > 16 with the full window."
    assert f"Half of the seeds solve the task up to a distance of, {expected}" in told  # 12: the middle of 9 and 16


# Capacity


def test_the_share_recalled_is_the_mean_over_seeds():
    row = capacity.table(SIZES).iloc[0]
    trials = SIZES[(SIZES["task.symbols"] == row["task.symbols"]) & (SIZES["model.hidden_size"] == 8)]
    assert row["recalled"] == pytest.approx(trials["eval/accuracy"].mean())
    assert row["rate"] == pytest.approx((trials["status"] == SOLVED).mean())
    assert row["recalled_trials"] == len(trials) == 4


def test_delays_separate_rows_where_symbols_are_the_axis():
    """Distances 12, 14, 102 and 104 would tell delays from symbols; but they are not on the axis."""
    frame = frame_of(sweep(task="copy", symbols=[2, 4], delay=[10, 100], hidden_size=[8, 16]))
    assert capacity.table(frame)["task.delay"].tolist() == [10] * 4 + [100] * 4
    assert capacity.table(frame)["counted"].eq(1).all()


# Sensor


def test_the_accuracy_of_each_network_is_drawn_over_chance():
    means = event_distance.table(SENSORS)
    assert set(means[lines.NETWORK]) == {f"{cell}{both}" for cell in ("elman", "gru") for both in ("", lines.BOTH)}
    (ax,) = event_distance.draw(SENSORS).axes
    (chance,) = [line for line in ax.lines if line.get_label() == "_chance"]
    assert chance.get_ydata()[0] == pytest.approx(1 / 3)
    assert "chance is 33 %" in event_distance.caption(SENSORS)
    single = [line for line in ax.lines if line.get_label() == "_seeds"]
    assert sum(len(line.get_xdata()) for line in single) == len(SENSORS)


@pytest.mark.parametrize("task", words.CHANCE)
def test_chance_in_words_is_that_of_the_task(task):
    assert words.CHANCE[task] == pytest.approx(math.exp(-registry()["task"][task]().baseline))


# Other lengths


def test_lengths_become_ratios_and_the_trained_one_is_always_there():
    means = generalisation.table(LENGTHS)
    assert sorted(set(means[generalisation.RATIO])) == [0.5, 1, 2]
    row = means[(means[lines.NETWORK] == "gru") & (means[generalisation.RATIO] == 2)].iloc[0]
    assert row["mean"] == pytest.approx(LENGTHS.loc[LENGTHS["cell"] == "gru", "at_length/40/accuracy"].mean())
    assert row["counted"] == 3
    unknown = LENGTHS.drop(columns="at_length/20/accuracy")
    trained = generalisation.table(unknown)
    trained = trained[trained[generalisation.RATIO] == 1]["mean"].to_numpy()
    assert trained == pytest.approx(unknown.groupby("cell")["eval/accuracy"].mean().to_numpy())


def test_a_trial_without_a_result_is_missing_at_every_length():
    running = with_status(LENGTHS, RUNNING, LENGTHS["seed"] == 0)
    columns = [name for name in LENGTHS if name.startswith(generalisation.LENGTHS)]
    running.loc[running["seed"] == 0, columns] = math.nan
    means = generalisation.table(running)
    assert means["counted"].eq(2).all()
    assert means["unfinished"].eq(1).all()


def test_different_trained_lengths_are_not_pooled():
    frame = with_lengths(frame_of(sweep(task="copy", delay=[10, 20], seed=range(2))), [10, 20, 40])
    figure = generalisation.draw(frame)
    titles = ["copy memory · delay 10", "copy memory · delay 20"]
    assert [ax.get_title(loc="left") for ax in figure.axes] == titles
    assert generalisation.table(frame)["counted"].eq(2).all()


def test_tasks_that_were_not_evaluated_elsewhere_are_left_out():
    frame = with_lengths(frame_of([*sweep(task="copy", delay=20), *sweep(task="adding", length=50)]), [40])
    adding = frame["task"] == "adding"
    frame["at_length/40/accuracy"] = frame["at_length/40/accuracy"].mask(adding)
    assert set(generalisation.table(frame)["task"]) == {"copy"}


@pytest.mark.parametrize("task", registry()["task"])
def test_the_field_that_sets_the_length_is_the_task_s_dial(task):
    spec = registry()["task"][task]
    fields = [f"task.{name}" for name in spec.__dataclass_fields__]
    assert next(name for name in generalisation.DIALS if name in fields) == f"task.{spec.dial}"


# All of them


def midway(frame):
    """The frame when the sweep had come as far as its quickest trials: they have a result, the others still run."""
    return with_status(frame, RUNNING, frame["trained_steps"] >= frame["trained_steps"].median())


FOUND = {  # what a caption says of a sweep that has ended
    horizon: (COPY, "the longest horizon is at", "horizons are too high"),
    endings: (CLIPS, "solved were", "shares solved are too high"),
    truncation: (WINDOWS, "half of the seeds solve the task up to", "horizons are too high"),
    capacity: (SIZES, "symbols were recalled", "shares are too high"),
    event_distance: (SENSORS, "steps after the event:", "shares are too high"),
    generalisation: (LENGTHS, "at the trained length and at", "shares are too high"),
    prediction: (SETTINGS, "rank correlation of horizon and reach", "horizons are too high"),
    learning_curves: (COPY, "medians end", "medians are too low"),
    time_to_solve: (COPY, "half of the seeds have solved", ""),
    cost: (COPY, "(medians of settings", "costs are too low"),
}


@pytest.mark.parametrize("module", FOUND, ids=lambda module: module.__name__.rpartition(".")[2])
def test_nothing_is_found_while_trials_run_as_those_that_solve_end_first(module):
    frame, found, biased = FOUND[module]
    ended = module.caption(*given(module, frame)).lower()
    assert found in ended
    assert "end first" not in ended
    running = midway(frame)
    told = module.caption(*given(module, running)).lower()
    assert found not in told
    early = f"trials that solve early end first: until all have ended, {biased}"
    assert (early in told.replace("shares solved and ", "")) == bool(biased)


def test_shares_alone_are_told_to_be_too_high_while_trials_run_but_for_estimates_that_account_for_them():
    told = "Trials that solve early end first: until all have ended, shares solved and horizons are too high."
    assert told in learnability.caption(midway(COPY))
    assert "end first" not in time_to_solve.caption(midway(COPY))
    assert "end first" not in learnability.caption(with_status(COPY, FAILED, COPY["seed"] == 0))


def test_the_title_of_a_prediction_tells_no_correlation_while_trials_run():
    titles = [
        prediction.draw(*given(prediction, frame)).axes[0].get_title(loc="left")
        for frame in (SETTINGS, midway(SETTINGS))
    ]
    assert ["correlation" in title for title in titles] == [True, False]


@pytest.mark.slow
@pytest.mark.parametrize("experiment", MEANT_FOR)
def test_captions_account_for_trials_that_ended_badly(experiment):
    frame = ended_badly(MEANT_FOR[experiment][0])
    counts = frame["status"].value_counts()
    for module in meant_for(frame, experiment).values():
        told = module.caption(*given(module, frame))
        assert f"{words.counted(counts[DIVERGED], 'trial')} that diverged." in told
        assert f"{words.counted(counts.get(RUNNING, 0), 'unfinished trial')}, " in told or counts.get(FAILED, 0) == 0
        assert not any(part in told for part in ("nan", "  ", "..", "None"))
