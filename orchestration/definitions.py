"""Everything that Dagster serves: what the modules below ``assets`` and ``sensors``, the jobs and the schedules define."""

import logging
from importlib import import_module
from pkgutil import walk_packages

import dagster as dg
from dagster._core.execution import context_creation_job

import assets
import sensors
from customer360.logs import JsonFormatter, is_json
from orchestration import decision_jobs, jobs, schedules
from orchestration.resources import Platform

# Steps of a run share its process and imports. ``dg.multiprocess_executor`` works as well, at an interpreter for each step.
EXECUTOR = dg.in_process_executor


def build_defs() -> dg.Definitions:
    """The definitions of the shop of this environment; of an object that several modules import, once."""
    names = [module.name for package in (assets, sensors) for module in walk_packages(package.__path__, f"{package.__name__}.")]
    modules = [*map(import_module, names), jobs, decision_jobs, schedules]
    found = dg.load_definitions_from_modules(modules, resources={"platform": Platform.from_environment()})
    return dg.Definitions(
        assets=dg.with_source_code_references(list(found.assets or [])),
        asset_checks=found.asset_checks,
        jobs=found.jobs,
        schedules=found.schedules,
        sensors=found.sensors,
        resources=found.resources,
        executor=EXECUTOR,
    )


def log_as_json() -> None:
    """Have what a run prints of its events be JSON: a run whose config names no logger has Dagster's colored one."""

    @dg.logger
    def console(_context: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("dagster", logging.DEBUG)
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
        return logger

    context_creation_job.default_system_loggers = lambda instance: [(console, {})]  # type: ignore[attr-defined]


if is_json():
    log_as_json()
defs = build_defs()
