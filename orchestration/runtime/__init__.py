"""What the product replaces of Dagster's and dagster-dbt's own machinery, for speed and for recovery. All else is theirs.

- ``launcher``, ``template`` for ``DefaultRunLauncher``, which starts an interpreter for each run: a run is a fork of a process
  that has imported everything, and starts in .1 s instead of 6 CPU seconds.
- ``event_log`` for ``SqliteEventLogStorage``, which opens its file for each event: an open connection costs a quarter of that.
- ``dbt_run`` for ``DbtCliResource``, which starts dbt as a child: in the run's process it costs 4 to 5 CPU seconds less a run,
  and never outlives its run.
- ``daemon`` for ``dagster-daemon run``: a run whose launch died with the daemon before is given up at once, not in 3 minutes.
- ``webserver`` for ``dagster-webserver``: the same, and the place's reports at /reports.
- ``services`` for ``dagster dev``: processes that die are started again. ``code_files`` tells it and the launcher when the
  definitions in memory are older than their files. ``home`` writes the settings file.

Each override was checked against the versions in ``CHECKED_AGAINST``, and a test holds these to what is installed: after an
upgrade, read the overridden methods again, run tests/orchestration and tests/daemon, then change the versions here.

Dagster's own launcher and event log are one line each of ``dagster.yaml``; either reads what ours wrote. The executor of all
jobs is ``orchestration.definitions.EXECUTOR``. tests/orchestration/test_stock_dagster.py runs a slice with Dagster's own.
"""

CHECKED_AGAINST = {
    "dagster": "1.13.27",
    "dagster-webserver": "1.13.27",
    "dagster-dbt": "0.29.27",
    "dbt-core": "1.11.16",
    "dbt-duckdb": "1.11.1",
}
