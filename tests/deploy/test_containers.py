"""The files of deploy/ for containers: commands, variables and settings that the product and Dagster take."""

import re
import shlex
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click
import pytest
import yaml
from dagster import Shape
from dagster._config import process_config
from dagster._core.instance.ref import InstanceRef
from typer.main import get_command

from customer360.mail.queue import URL_VARIABLE
from customer360.services.api.settings import PREFIX as API
from customer360.services.api.settings import ApiSettings
from customer360.services.desk.configuration import PREFIX as DESK
from customer360.services.desk.configuration import DeskSettings
from customer360.services.mailer.settings import PREFIX as MAILER
from customer360.services.mailer.settings import MailerSettings
from customer360.settings import REPOSITORY
from orchestration.cli import app

FOLDER = REPOSITORY / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
OWN = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "customer360"}
NOT_OF_SETTINGS = {"CUSTOMER360_LOG_FORMAT", URL_VARIABLE}


def test_every_command_is_one_of_the_product() -> None:
    assert {"pipeline", "api", "desk", "mailer", "prepare"} == OWN.keys()
    for name, service in OWN.items():
        words = service["command"]
        if words[0] == "sh":
            words = shlex.split(words[-1].rpartition(";")[2])
        assert words[0] == "customer360", name
        command: Any = get_command(app)
        context = click.Context(command)
        rest = words[1:]
        while hasattr(command, "commands"):
            _, command, rest = command.resolve_command(context, rest)
        command.make_context(name, list(rest))  # raises on an unknown option


def test_every_variable_is_a_setting_and_is_taken() -> None:
    for name, service in OWN.items():
        given = {
            key: re.sub(r"\$\{\w+(?::[-?][^}]*)?\}", "x1.example", str(value)) for key, value in service["environment"].items()
        }
        given |= {"CUSTOMER360_MAILER_PORT": "25"} if name == "mailer" else {}
        for prefix, settings in ((API, ApiSettings), (DESK, DeskSettings), (MAILER, MailerSettings)):
            known = {f"{prefix}{field.upper()}" for field in settings.__struct_fields__}
            assert {key for key in given if key.startswith(prefix)} <= known, name
        unknown = {key for key in given if key.startswith("CUSTOMER360_")} - NOT_OF_SETTINGS
        assert all(key.startswith((API, DESK, MAILER)) for key in unknown), unknown
        if name == "desk":
            assert DeskSettings.from_environment(given).origin == "https://x1.example"
        if name == "api":
            assert ApiSettings.from_environment(given).workers == 2


def test_services_have_health_checks_and_only_the_proxy_is_reached_from_other_machines() -> None:
    for name, service in COMPOSE["services"].items():
        for port in service.get("ports", []):
            assert name == "proxy" or port.startswith("127.0.0.1:"), name
    for name in ("pipeline", "api", "desk"):
        assert OWN[name]["healthcheck"]["test"][0] == "CMD"
        compile(OWN[name]["healthcheck"]["test"][3], name, "exec")
        assert OWN[name]["cap_drop"] == ["ALL"]
    containerfile = (FOLDER / "Containerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (.*)$", containerfile, re.MULTILINE) == ["10001"]
    assert "--constraint requirements.lock" in containerfile


@pytest.mark.parametrize("name", ["docker", "kubernetes"])
def test_dagster_takes_the_settings_of_its_instance(name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    package = {"docker": "dagster_docker", "kubernetes": "dagster_k8s"}[name]
    for module in (package, "dagster_postgres"):
        if find_spec(module) is None:
            pytest.skip(f'{module} is not installed: pip install -c requirements.lock ".[deployment]"')
    for variable in ("HOST", "USERNAME", "PASSWORD", "DB"):
        monkeypatch.setenv(f"DAGSTER_PG_{variable}", "x")
    (tmp_path / "dagster.yaml").write_text((FOLDER / f"dagster-{name}.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    reference = InstanceRef.from_dir(str(tmp_path))
    assert reference.run_launcher_data is not None
    assert reference.run_launcher_data.module_name == package
    launcher = getattr(import_module(package), reference.run_launcher_data.class_name)
    config = yaml.safe_load(reference.run_launcher_data.config_yaml)
    result = process_config(Shape(launcher.config_type()), config)
    assert result.success, result.errors
