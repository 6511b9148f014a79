"""What a start shows while it works: counts, percentages and times left, worked out by hand on a clock of the test."""

from __future__ import annotations

import io
from dataclasses import dataclass

import duckdb

from customer360.lake.engine import connect
from customer360.progress import Watch, register, report, watched
from orchestration.progress_display import Display, StepProgress


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_time_left_takes_all_units_to_last_as_long_as_those_so_far() -> None:
    watch, clock = Watch(), Clock()
    progress = StepProgress(watch, clock)
    with watched() as watch:
        progress.watch = watch
        progress.look("warehouse_models")
        report(0, 40, "models and tests")
        progress.look("warehouse_models")
        clock.now += 30
        report(10, 40, "models and tests", "marts.traffic")
        progress.look("warehouse_models")
    # 10 of 40 took 30 s, so the other 30 take 90 s.
    assert progress.line() == "warehouse_models  10 of 40 models and tests, 25%, marts.traffic  0:30  about 1:30 left"


def test_too_little_that_is_done_says_no_time_left() -> None:
    watch, clock = Watch(), Clock()
    progress = StepProgress(watch, clock)
    for done, seconds in ((4, 60.0), (5, 2.0)):
        with watched() as watch:
            progress.watch = watch
            report(0, 8, "slices")
            progress.look(f"step {done}")
            report(0, 8, "slices")
            progress.look(f"step {done}")
            clock.now += seconds
            report(done, 8, "slices")
            progress.look(f"step {done}")
            assert progress.time_left() == ""


def test_the_next_step_counts_anew_and_the_next_query_estimates_anew() -> None:
    clock, percentages = Clock(), iter([20.0, 50.0, 10.0])

    class Queries(Watch):
        def query_percentage(self) -> float | None:
            return next(percentages)

    progress = StepProgress(Queries(), clock)
    progress.look("raw/purchases")
    clock.now += 10
    progress.look("raw/purchases")
    assert progress.line() == "raw/purchases  query at 50%  0:10  about 0:10 left"
    clock.now += 10
    progress.look("raw/purchases")  # another query
    assert progress.line() == "raw/purchases  query at 10%  0:20"


def test_a_query_is_watched_only_while_somebody_watches(tmp_path) -> None:
    setting = "select current_setting('enable_progress_bar')"
    with connect(tmp_path) as connection:
        assert connection.execute(setting).fetchone() == (False,)
    with watched() as watch, connect(tmp_path) as connection:
        assert connection.execute(setting).fetchone() == (True,)
        assert list(watch.connections) == [connection]
    assert watch.query_percentage() is None  # it is closed


def test_reports_without_a_watcher_are_dropped() -> None:
    report(1, 2, "slices")
    with watched() as watch, duckdb.connect() as connection:
        register(connection)
        assert watch.reported is None


def test_lines_in_a_pipe_are_whole_and_name_no_control_characters() -> None:
    output, clock = io.StringIO(), Clock()
    display = Display(output, clock)
    with display.stage("loading"):
        clock.now += 2.5
        display.say("a file \x1b[31m")
    assert output.getvalue() == "-> loading\na file \\x1b[31m\n   done in 2.5 s\n"
    assert display.seconds == {"loading": 2.5}
