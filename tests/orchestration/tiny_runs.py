"""A tiny job, and a run template for it: ``orchestration.runtime.template`` without the product's imports."""

import signal
import socket
import sys
import time

import dagster as dg

from orchestration.runtime.template import execute_run, import_dagster, serve


@dg.op
def work(context: dg.OpExecutionContext) -> None:
    """Succeed, fail or go on for a minute, as the run's tag ``do`` says."""
    do = context.run.tags["do"]
    if do == "fail":
        raise RuntimeError("as it was told")
    if do == "go on":
        time.sleep(60)


@dg.job(executor_def=dg.in_process_executor)
def tiny_job() -> None:
    """One op."""
    work()


defs = dg.Definitions(jobs=[tiny_job])

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_dagster()
    defs.resolve_all_job_defs()
    serve(socket.socket(fileno=int(sys.argv[1])), execute_run)
