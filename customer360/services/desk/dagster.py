"""Dagster's web server by its GraphQL interface: failed checks, and runs that are asked for and followed."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

TIMEOUT_SECONDS = 15
FAILED_CHECKS = """
query FailedChecks {
  assetNodes {
    assetKey { path }
    assetChecksOrError {
      ... on AssetChecks {
        checks { name executionForLatestMaterialization { status runId evaluation { success severity description } } }
      }
    }
  }
}
"""
REPOSITORIES = (
    "query { repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } jobs { name } } } } }"
)
LAUNCH = """
mutation Launch($selector: JobOrPipelineSelector!, $tags: [ExecutionTag!]) {
  launchRun(executionParams: {selector: $selector, runConfigData: {}, executionMetadata: {tags: $tags}}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on Error { message }
  }
}
"""
RUN = """
query Run($id: ID!) {
  runOrError(runId: $id) {
    ... on Run { runId jobName status startTime endTime stepStats { stepKey status } }
    ... on Error { message }
  }
}
"""


class DagsterError(RuntimeError):
    """Dagster does not answer, or refuses. The message says what to do."""


@dataclass(frozen=True)
class FailedCheck:
    """A check whose newest result is a failure."""

    asset: str
    name: str
    severity: str
    description: str
    url: str


@dataclass(frozen=True)
class Run:
    """A run: its state in Dagster's words, and its steps by how many are done."""

    run_id: str
    job: str
    status: str
    steps: int
    steps_done: int

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in {"SUCCESS", "FAILURE", "CANCELED"}

    @property
    def url(self) -> str:
        """Its page in Dagster."""
        return f"{settings.DESK.dagster_url}/runs/{self.run_id}"


def ask(query: str, variables: Mapping[str, Any] | None = None) -> Any:
    """The ``data`` of Dagster's answer. Raises ``DagsterError``."""
    address = f"{settings.DESK.dagster_url}/graphql"
    body = json.dumps({"query": query, "variables": dict(variables or {})}).encode()
    asked = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310 (an operator's setting)
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            document = json.load(answer)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise DagsterError(
            f"{settings.DESK.dagster_url} does not answer ({getattr(error, 'reason', error)}): customer360 serve starts Dagster"
        ) from error
    if document.get("errors"):
        raise DagsterError(str(document["errors"][0].get("message", "")))
    return document["data"]


def failed_checks() -> list[FailedCheck]:
    """The checks that failed on what was made last."""
    found = []
    for node in ask(FAILED_CHECKS)["assetNodes"]:
        path = node["assetKey"]["path"]
        for check in node["assetChecksOrError"].get("checks", ()):
            evaluation = (check["executionForLatestMaterialization"] or {}).get("evaluation")
            if evaluation and not evaluation["success"]:
                url = f"{settings.DESK.dagster_url}/assets/{'/'.join(path)}?view=checks"
                severity, text = evaluation["severity"], evaluation["description"] or ""
                found.append(FailedCheck("/".join(path), check["name"], severity, text, url))
    return found


def launch(job: str, user: str, partition: str = "") -> str:
    """Ask for a run of a job, of a partition where it has them, and return its id. The run says who asked for it.

    Raises ``DagsterError``.
    """
    for repository in ask(REPOSITORIES)["repositoriesOrError"].get("nodes", ()):
        if job in {known["name"] for known in repository["jobs"]}:
            selector = {
                "repositoryLocationName": repository["location"]["name"],
                "repositoryName": repository["name"],
                "jobName": job,
            }
            tags = [{"key": "customer360/asked_by", "value": user}]
            tags += [{"key": "dagster/partition", "value": partition}] if partition else []
            answer = ask(LAUNCH, {"selector": selector, "tags": tags})["launchRun"]
            if "run" not in answer:
                raise DagsterError(answer.get("message") or answer["__typename"])
            return str(answer["run"]["runId"])
    raise DagsterError(f"Dagster has no job {job}; see the log of its code server")


def read_run(run_id: str) -> Run:
    """A run as it is now. Raises ``DagsterError``."""
    answer = ask(RUN, {"id": run_id})["runOrError"]
    if "runId" not in answer:
        raise DagsterError(answer.get("message", ""))
    steps = answer["stepStats"]
    done = [step for step in steps if step["status"] in {"SUCCESS", "FAILURE", "SKIPPED"}]
    return Run(answer["runId"], answer["jobName"], answer["status"], len(steps), len(done))
