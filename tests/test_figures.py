"""Each figure applies where it has something to show, and its numbers and captions are those of the frame."""

import math

import pytest
from frames import (
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
    with_lengths,
    with_status,
)

from reports import distances, lines, words
from reports.figures import (
    capacity,
    endings,
    event_distance,
    figures,
    generalisation,
    horizon,
    meant_for,
    radius_clip,
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
FLOW = diagnosed(frame_of(flow_sweep()))
NETWORKS = diagnosed(
    frame_of(copy_sweep(seed=range(4), delay=[5, 20, 60], init="gaussian", spectral_radius=[0.5, 1.0]))
)
SCALES = {"input_scale": [0.1, 0.5, 2.0], "init": "gaussian", "spectral_radius": [0.5, 1.2]}
SETTINGS = diagnosed(frame_of(copy_sweep(seed=range(4), delay=[5, 20, 60], **SCALES)))
OF_NETWORKS = ("gradient_flow", "spectrum", "unrolled")

MEANT_FOR = {
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
    "sensor": (SENSORS, ["event_distance", "learnability"]),
    "dynamics": (NETWORKS, ["dynamics", "learnability", "horizon", *OF_NETWORKS]),
    "prediction": (SETTINGS, ["prediction", "learnability", "horizon", *OF_NETWORKS, "dynamics", "vanishing"]),
    "spectrum": (diagnosed(SIZES), ["spectrum", "learnability", "gradient_flow", "unrolled", "capacity", "dynamics"]),
    "unrolled": (diagnosed(SIZES), ["unrolled", "learnability", "gradient_flow", "spectrum", "capacity", "dynamics"]),
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
    assert list(meant_for(frame, experiment)) == expected


def test_every_figure_is_on_some_page():
    assert {name for _, names in MEANT_FOR.values() for name in names} == set(figures())


def set_status(frame, statuses):
    """The first trials of a frame end as listed, the others exhaust their budget."""
    frame = with_status(frame, EXHAUSTED)
    for row, status in enumerate(statuses):
        frame = with_status(frame, status, frame.index == row)
    return frame


# Horizon


def test_horizons_outside_stand_beyond_the_distances_tested_and_the_axis_says_so():
    points, (ax,) = horizon.table(COPY), horizon.draw(COPY).axes
    (line,) = [line for line in ax.lines if not line.get_label().startswith("_")]
    tested = distances.Axis(COPY["distance"], lines=1)
    below, above = tested.beyond(horizon.OUTSIDE)
    assert below < COPY["distance"].min()
    assert above > COPY["distance"].max()
    expected = [{"<": below, ">": above}.get(row.outside, row.horizon) for row in points.itertuples()]
    assert line.get_ydata() == pytest.approx(expected)
    assert "<" in set(points["outside"])
    assert ax.get_yticks().tolist() == sorted(set(COPY["distance"]))


def test_a_line_per_hidden_size_and_panels_for_the_rest():
    frame = frame_of(copy_sweep(hidden_size=[16, 64], clip_threshold=[1.0, None], seed=[0], init="gaussian"))
    figure = horizon.draw(frame)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["16", "64"]
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["copy memory · clip 1", "copy memory · clip off"]


def test_the_caption_of_the_horizon_says_what_was_measured_not_what_is_expected():
    assert "the longest horizon is at radius 1.2; rank correlation of radius and horizon 1.00" in horizon.caption(COPY)
    radius = COPY["init.spectral_radius"]
    turned = COPY.assign(**{"init.spectral_radius": 1.7 - radius})
    told = horizon.caption(turned)
    assert "the longest horizon is at radius 0.5; rank correlation of radius and horizon -1.00" in told


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


def test_the_pair_named_in_the_caption_is_the_best():
    frame = frame_of(sweep(task="copy", delay=10, clip_threshold=[1.0, None], spectral_radius=[0.5, 1.0]))
    best = frame["train.clip_threshold"].isna() & (frame["init.spectral_radius"] == 0.5)
    frame = with_status(with_status(frame, EXHAUSTED), SOLVED, best)
    assert "in 1 of 1 panel the largest number is at radius 0.5 with clip off." in radius_clip.caption(frame)
    assert "largest" not in radius_clip.caption(with_status(frame, EXHAUSTED))


# Endings


def test_bars_are_the_shares_of_the_endings():
    frame = frame_of(sweep(task="copy", delay=10, clip_threshold=[1.0], seed=range(5)))
    frame = set_status(frame, [SOLVED, SOLVED, DIVERGED])
    (row,) = endings.table(frame).to_dict("records")
    assert (row[SOLVED], row[EXHAUSTED], row[DIVERGED], row["counted"]) == (2, 2, 1, 5)
    bars = endings.draw(frame).axes[0].patches
    assert [bar.get_height() for bar in bars] == pytest.approx([0.4, 0.4, 0.2])
    assert [bar.get_y() for bar in bars] == pytest.approx([0, 0.4, 0.8])
    assert "with clip 1 40 % were solved and 20 % diverged" in endings.caption(frame)


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


@pytest.mark.parametrize("experiment", MEANT_FOR)
def test_captions_account_for_trials_that_ended_badly(experiment):
    frame = ended_badly(MEANT_FOR[experiment][0])
    counts = frame["status"].value_counts()
    for module in meant_for(frame, experiment).values():
        told = module.caption(*given(module, frame))
        assert f"{words.counted(counts[DIVERGED], 'trial')} that diverged." in told
        assert f"{words.counted(counts.get(RUNNING, 0), 'unfinished trial')}, " in told or counts.get(FAILED, 0) == 0
        assert not any(part in told for part in ("nan", "  ", "..", "None"))
