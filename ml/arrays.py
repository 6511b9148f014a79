"""Array types of ``ml`` by the type of their entries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]
SingleFloats = npt.NDArray[np.float32]
Moments = npt.NDArray[np.datetime64]
