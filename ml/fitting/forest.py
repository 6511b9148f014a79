"""A random forest (Breiman, Random Forests, 2001) as plain arrays: what was fitted, kept and read without pickle.

Trees are grown by scikit-learn and kept as arrays of nodes, in a file of numbers and texts alone. Walking the arrays gives
scikit-learn's own probabilities, and does not depend on its version.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pandas as pd

from customer360.features import Feature

LEAF = -1
# Below every number that there is: a missing one goes with the lowest. Finite, so that thresholds beside it are.
MISSING_NUMBER = -1e30
UNSEEN = -1.0  # code of a text that the training rows did not have

Codes = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.int32]


class ForestError(ValueError):
    """A file holds no forest. The message says what is wrong with it."""


@dataclass(frozen=True)
class Encoding:
    """Features as numbers: of a text feature the place among its ``levels``, None for numeric ones."""

    names: tuple[str, ...]
    levels: tuple[tuple[str, ...] | None, ...]

    @classmethod
    def of(cls, matrix: pd.DataFrame, features: Sequence[Feature], is_hit: npt.NDArray[np.bool_]) -> Self:
        """Levels in the order of their share of hits, so that one threshold parts the likely from the unlikely."""
        levels: list[tuple[str, ...] | None] = []
        for feature in features:
            if feature.kind == "numeric":
                levels.append(None)
                continue
            shares = pd.Series(is_hit).groupby(matrix[feature.name].to_numpy(dtype=object)).mean()
            levels.append(tuple(level for _, level in sorted((share, str(level)) for level, share in shares.items())))
        return cls(tuple(feature.name for feature in features), tuple(levels))

    def part(self, names: Collection[str]) -> Encoding:
        """The same of these features alone."""
        kept = [(name, levels) for name, levels in zip(self.names, self.levels, strict=True) if name in names]
        return Encoding(tuple(name for name, _ in kept), tuple(levels for _, levels in kept))

    def codes(self, matrix: pd.DataFrame) -> Codes:
        """Rows x features."""
        result = np.empty((len(matrix), len(self.names)), dtype=np.float32)
        for place, (name, levels) in enumerate(zip(self.names, self.levels, strict=True)):
            if levels is None:
                values = matrix[name].to_numpy(dtype=np.float32)
                result[:, place] = np.where(np.isnan(values), np.float32(MISSING_NUMBER), values)
            else:  # UNSEEN is what get_indexer says of what it does not find
                result[:, place] = pd.Index(levels).get_indexer(pd.Index(matrix[name].astype(str)))
        return result


@dataclass(frozen=True)
class Forest:
    """Nodes of all trees, one after the other; ``roots`` is where each begins.

    A row goes to ``left`` where its code of ``feature`` is at most ``threshold``, else to ``right``; both lie after their node.
    ``feature`` is ``LEAF`` in leaves, of which ``share`` (nodes x classes) holds the classes' shares among the training rows.
    ``importance`` is in percent.
    """

    classes_: tuple[str, ...]
    encoding: Encoding
    roots: Nodes
    feature: Nodes
    threshold: Floats
    left: Nodes
    right: Nodes
    share: Floats
    importance: Floats

    @property
    def feature_names_(self) -> tuple[str, ...]:
        """The features that it reads, in order."""
        return self.encoding.names

    def predict_proba(self, matrix: pd.DataFrame) -> Floats:
        """Rows x classes: the mean over the trees of the shares in the leaf that a row comes to."""
        codes = self.encoding.codes(matrix)
        result = np.zeros((len(codes), len(self.classes_)))
        rows = np.arange(len(codes))
        for root in self.roots:
            node = np.full(len(codes), root)
            walking = rows[self.feature[node] != LEAF]
            while len(walking):
                here = node[walking]
                goes_left = codes[walking, self.feature[here]] <= self.threshold[here]
                node[walking] = np.where(goes_left, self.left[here], self.right[here])
                walking = walking[self.feature[node[walking]] != LEAF]
            result += self.share[node]
        return result / len(self.roots)

    def save(self, path: Path) -> None:
        """Write the arrays, and texts as arrays of characters."""
        texts = [np.array(level or (), dtype=np.str_) for level in self.encoding.levels]
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                classes=np.array(self.classes_, dtype=np.str_),
                names=np.array(self.encoding.names, dtype=np.str_),
                is_text=np.array([level is not None for level in self.encoding.levels]),
                levels=np.concatenate(texts) if texts else np.array((), dtype=np.str_),
                level_counts=np.array([len(text) for text in texts]),
                **{name: getattr(self, name) for name in ARRAYS},
            )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote. Raises ``ForestError`` where a walk through it could leave it or not end."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as read:
                found: dict[str, Any] = {name: read[name] for name in read.files}
            edges = np.cumsum(found["level_counts"])[:-1]
            levels = tuple(
                tuple(map(str, part)) if is_text else None
                for part, is_text in zip(np.split(found["levels"], edges), found["is_text"], strict=True)
            )
            forest = cls(
                tuple(map(str, found["classes"])),
                Encoding(tuple(map(str, found["names"])), levels),
                **{name: np.asarray(found[name]) for name in ARRAYS},
            )
        except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
            raise ForestError(f"it cannot be read: {error}") from error
        forest._check()
        return forest

    def _check(self) -> None:
        nodes, names = len(self.feature), len(self.encoding.names)
        inner = np.flatnonzero(self.feature != LEAF)
        sizes = {len(self.threshold), len(self.left), len(self.right), len(self.share)}
        is_whole = (
            sizes == {nodes} and self.share.ndim == 2 and self.share.shape[1] == len(self.classes_) and len(self.roots) > 0
        )
        is_whole = is_whole and bool(((self.roots >= 0) & (self.roots < nodes)).all() and (self.feature < names).all())
        for child in (self.left, self.right) if is_whole else ():
            is_whole = is_whole and bool(((child[inner] > inner) & (child[inner] < nodes)).all())
        if not is_whole:
            raise ForestError("its nodes do not make trees")


ARRAYS = ("roots", "feature", "threshold", "left", "right", "share", "importance")
