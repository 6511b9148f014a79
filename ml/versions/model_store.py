"""Model versions on disk: ``<root>/<name>/<version>/`` with model.cbm and manifest.json, immutable, and a champion pointer.

model.cbm is CatBoost's own format, never pickle. The pointer is ``<root>/<name>/champion``, a text file that names the
version and is replaced by rename. Every decision stays in ``<root>/<name>/promotions.jsonl`` (``ml.versions.decision_log``).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catboost import CatBoostClassifier, CatBoostError
from pydantic import ValidationError

from customer360.decisions import Request
from customer360.errors import OperatorError
from customer360.features import Feature
from customer360.lake.atomic import exclusive, fsync_path, write_text
from ml.datasets.bands import BAND_NAMES
from ml.datasets.training_sets import TrainingSet
from ml.fitting.class_model import ClassModel
from ml.fitting.training import TrainedModel
from ml.judging.evaluation import Evaluation
from ml.judging.promotion import Decision
from ml.versions.decision_log import PROMOTED, REJECTED, ROLLED_BACK, append_decision, read_decisions, succession
from ml.versions.manifest import Manifest, describe, feature_types

MODEL_FILE, MANIFEST_FILE = "model.cbm", "manifest.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # of a model or a version
RESTORE = "restore the version's own file, or promote another version"
CHAMPION_FILE = "champion"
PROMOTIONS_FILE = "promotions.jsonl"
AUTOMATIC = "training"  # who decided, where it was no person


class ModelStoreError(OperatorError, ValueError):
    """The store was asked for something that it does not hold or must not do. The message names the path and the remedy."""


class ModelRefused(ModelStoreError):  # noqa: N818 (the field's word: a model is refused)
    """A model file does not fit its manifest or the shop. The message names the file and the difference."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that passed every check, with its manifest."""

    model: ClassModel
    manifest: Manifest

    @property
    def version(self) -> str:
        """The version's name, as in ``customer_scores.model_version``."""
        return self.manifest.version


@dataclass(frozen=True)
class Refusal:
    """A promoted version that does not load, and why."""

    version: str
    reason: str


@dataclass(frozen=True)
class Servable:
    """The newest promoted version that loads (None when there is none), and the newer ones that were refused."""

    loaded: LoadedModel | None
    refusals: tuple[Refusal, ...]


def version_name(created_at: datetime, fingerprint: str) -> str:
    """``20260501T180000Z-1a2b3c4d``: when it was made (UTC), and from which data."""
    return f"{_aware(created_at):%Y%m%dT%H%M%SZ}-{fingerprint[:8]}"


class ModelStore:
    """The models under ``root``. Decisions wait for one another; readers may come at any time and see complete versions."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def save(
        self,
        name: str,
        version: str,
        *,
        trained: TrainedModel,
        training_set: TrainingSet,
        evaluation: Evaluation,
        created_at: datetime,
    ) -> Manifest:
        """Write a version: a temporary folder, fsync, then rename. Raises ``ModelStoreError`` when the version exists."""
        folder = self._version_folder(name, version)
        if folder.exists():
            raise ModelStoreError(f"{folder} exists; versions are immutable, save under another name")
        draft = folder.with_name(f".tmp-{version}-{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        trained.model.classifier.save_model(str(draft / MODEL_FILE), format="cbm")
        manifest = describe(
            name=name,
            version=version,
            created_at=_aware(created_at),
            trained=trained,
            training_set=training_set,
            evaluation=evaluation,
            model_sha256=_sha256(draft / MODEL_FILE),
        )
        (draft / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
        for path in (draft / MODEL_FILE, draft / MANIFEST_FILE, draft):
            fsync_path(path)
        draft.rename(folder)
        fsync_path(folder.parent)
        return manifest

    def record(self, name: str, version: str, decision: Decision, at: datetime) -> None:
        """Promote the version or record it as rejected, as ``ml.judging.promotion.decide`` decided."""
        if decision.is_promoted:
            self.promote(name, version, decision.reason, at)
        else:
            self.reject(name, version, decision.reason, at)

    def promote(self, name: str, version: str, reason: str, at: datetime, by: str = AUTOMATIC) -> None:
        """Make the version champion. The log comes first, then the pointer: a crash between leaves the old champion serving.

        Raises ``ModelRefused`` when the file is not the manifest's. Whether it fits the shop is not checked.
        """
        self._verified_manifest(name, version)
        with self._deciding(name) as log:
            append_decision(log, version, PROMOTED, Request(reason, _aware(at), by), previous=self.champion_version(name))
            self._point_at(name, version)

    def reject(self, name: str, version: str, reason: str, at: datetime, by: str = AUTOMATIC) -> None:
        """Record that the version is not to serve. Raises ``ModelStoreError`` for the champion, and for an unknown version."""
        self.require(name, version)
        with self._deciding(name) as log:
            champion = self.champion_version(name)
            if version == champion:
                raise ModelStoreError(f"{name} {version} is the champion, so it cannot be rejected; roll back instead")
            append_decision(log, version, REJECTED, Request(reason, _aware(at), by), previous=champion)

    def roll_back(self, name: str, to: str, reason: str, at: datetime, by: str) -> str:
        """Make an earlier champion serve again and withdraw the champion of now, whose version is returned.

        Raises ``ModelStoreError`` when ``to`` was no champion before it, ``ModelRefused`` when its file is not its manifest's.
        """
        self._verified_manifest(name, to)
        with self._deciding(name) as log:
            champion, earlier = self.champion_version(name), self.earlier_champions(name)
            if champion is None or to not in earlier:
                known = ", ".join(earlier) or "none"
                raise ModelStoreError(
                    f"{name} {to} was no champion before {champion}, or was withdrawn since (there are: {known}); promote it"
                )
            append_decision(log, champion, ROLLED_BACK, Request(reason, _aware(at), by), previous=champion, champion=to)
            self._point_at(name, to)
        return champion

    def champion_version(self, name: str) -> str | None:
        """The version that the pointer names; None before the first promotion."""
        pointer = self.root / name / CHAMPION_FILE
        return pointer.read_text(encoding="utf-8").strip() or None if pointer.exists() else None

    def versions(self, name: str) -> list[str]:
        """Names of the versions on disk, oldest name first. Folders with other names are left out."""
        folder = self.root / name
        if not folder.is_dir():
            return []
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and NAME.fullmatch(path.name))

    def promotions(self, name: str) -> list[dict[str, Any]]:
        """Every decision in the order in which it was taken; see ``ml.versions.decision_log`` for its fields."""
        return read_decisions(self.root / name / PROMOTIONS_FILE)

    def earlier_champions(self, name: str) -> list[str]:
        """The versions that served before the champion and were not withdrawn since, the last one first."""
        line, champion = succession(self.promotions(name)), self.champion_version(name)
        return line[line.index(champion) + 1 :] if champion in line else line

    def require(self, name: str, version: str) -> None:
        """Raise ``ModelStoreError``, which lists the newest versions, unless this version is on disk."""
        if not self._version_folder(name, version).is_dir():
            known = ", ".join(self.versions(name)[-5:]) or "none yet; run training_job"
            raise ModelStoreError(f"{self.root / name} has no version {version}; the newest are: {known}")

    def manifest(self, name: str, version: str) -> Manifest:
        """The manifest of a version. Raises ``ModelRefused`` when it is missing, cannot be read or is not a manifest."""
        path = self._version_folder(name, version) / MANIFEST_FILE
        try:
            with _reading(path):
                return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            raise ModelRefused(f"{path} is not a manifest: {error}; {RESTORE}") from error

    def load(
        self,
        name: str,
        version: str,
        features: Sequence[Feature],
        categories: Sequence[str],
        horizon_days: int | None = None,
    ) -> LoadedModel:
        """Load a version for the shop's present features and categories ("none" included), and horizon where it is given.

        The shop may have features that the version does not read: those of a later release or of a wider shop.yaml.

        Raises ``ModelRefused`` when the file's hash differs from the manifest's, when it holds no multiclass CatBoost
        classifier, when it reads a feature that the shop lacks, or when categories or horizon differ from the shop's.
        """
        manifest = self._verified_manifest(name, version)
        path = self._version_folder(name, version) / manifest.model_file
        own = _own_features(path, manifest, features)
        _require_same("categories", path, list(manifest.categories), list(categories), "the present shop.yaml")
        if None not in (horizon_days, manifest.horizon_days) and horizon_days != manifest.horizon_days:
            raise ModelRefused(
                f"{path} looks {manifest.horizon_days} days ahead, the present shop.yaml asks for {horizon_days}; train again"
            )
        if tuple(categories) == BAND_NAMES and (manifest.bands is None or len(manifest.bands.means) != len(BAND_NAMES)):
            raise ModelRefused(f"{path} predicts bands of an amount, and its manifest does not say which; train again")
        classifier = _read_classifier(path)
        own_names = [feature.name for feature in own]
        _require_same("features in the model file", path, list(classifier.feature_names_), own_names, "its manifest")
        seen = [str(category) for category in classifier.classes_]
        if not set(seen) <= set(categories):
            raise ModelRefused(f"{path} predicts {seen}, which are not the classes of {name}; train again")
        model = ClassModel(
            classifier,
            own,
            tuple(categories),
            manifest.unseen_probability,
            manifest.calibration,
            manifest.decision_weights,
            manifest.bands,
            manifest.baseline,
            manifest.baseline_weight,
            manifest.negatives,
            manifest.odds_factor,
        )
        return LoadedModel(model, manifest)

    def load_servable(
        self, name: str, features: Sequence[Feature], categories: Sequence[str], horizon_days: int | None = None
    ) -> Servable:
        """The champion, or else the last good one: the newest champion before it that loads and was not withdrawn.

        Refusals: the newer promoted versions that do not load.
        """
        champion = self.champion_version(name)
        candidates = [*([champion] if champion else []), *self.earlier_champions(name)]
        refusals: list[Refusal] = []
        for version in candidates:
            try:
                return Servable(self.load(name, version, features, categories, horizon_days), tuple(refusals))
            except ModelRefused as error:
                refusals.append(Refusal(version, str(error)))
        return Servable(None, tuple(refusals))

    def _version_folder(self, name: str, version: str) -> Path:
        for part in (name, version):
            if not NAME.fullmatch(part):
                raise ModelStoreError(f"{part!r} is no name of a model or a version: letters, digits, '_', '.' and '-'")
        return self.root / name / version

    def _verified_manifest(self, name: str, version: str) -> Manifest:
        manifest = self.manifest(name, version)
        path = self._version_folder(name, version) / manifest.model_file
        if (manifest.name, manifest.version) != (name, version):
            raise ModelRefused(
                f"{path} lies beside the manifest of {manifest.name} {manifest.version}; restore the right folder"
            )
        if path.name != MODEL_FILE:
            raise ModelRefused(
                f"{path} is a random forest, which is not read since 0.1.0; run training_job, or promote another version"
            )
        with _reading(path):
            digest = _sha256(path)
        if digest != manifest.model_sha256:
            raise ModelRefused(
                f"{path} has sha256 {digest[:12]}..., its manifest says {manifest.model_sha256[:12]}...; "
                "the file was damaged or exchanged: restore it, or promote another version"
            )
        return manifest

    @contextmanager
    def _deciding(self, name: str) -> Iterator[Path]:
        """The log, held against others who decide at the same time: a training, a job, somebody at a terminal."""
        with exclusive(self.root / name / ".lock"):
            yield self.root / name / PROMOTIONS_FILE

    def _point_at(self, name: str, version: str) -> None:
        write_text(self.root / name / CHAMPION_FILE, version + "\n")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ModelRefused(f"{path} does not exist; restore the version, or promote another one") from error
    except OSError as error:
        raise ModelRefused(f"{path} cannot be read ({error.strerror}); {RESTORE}") from error


def _own_features(path: Path, manifest: Manifest, features: Sequence[Feature]) -> tuple[Feature, ...]:
    """The shop's features that the version reads, in its order."""
    by_name = {feature.name: feature for feature in features}
    lost = [feature.name for feature in manifest.features if feature.name not in by_name]
    if lost:
        raise ModelRefused(f"{path}: features are not those of the present shop.yaml, which lacks {lost[:5]}; train again")
    own = tuple(by_name[feature.name] for feature in manifest.features)
    if manifest.features != feature_types(own):
        raise ModelRefused(f"{path}: a feature changed between numeric and categorical; train again")
    return own


def _require_same(what: str, path: Path, found: list[str], required: list[str], of: str) -> None:
    if found == required:
        return
    missing = sorted(set(required) - set(found))
    extra = sorted(set(found) - set(required))
    detail = f"it lacks {missing[:5]} and has {extra[:5]}" if missing or extra else "their order differs"
    raise ModelRefused(f"{path}: {what} are not those of {of}: {detail}; train again")


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ModelStoreError(f"{moment} has no time zone; pass an aware datetime")
    return moment.astimezone(UTC)


def _read_classifier(path: Path) -> CatBoostClassifier:
    classifier = CatBoostClassifier()
    try:
        classifier.load_model(str(path), format="cbm")
        # A regressor's file loads here without an error; only its parameters show what it is.
        loss = str(classifier.get_all_params().get("loss_function"))
    except CatBoostError as error:
        raise ModelRefused(f"{path} is not a CatBoost model: {error}; {RESTORE}") from error
    if loss != "MultiClass":
        raise ModelRefused(f"{path} was trained for {loss}, every model here is a MultiClass classifier; {RESTORE}")
    return classifier


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
