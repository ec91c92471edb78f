"""The Ray cluster that work goes to."""

from __future__ import annotations

import logging
import os
from typing import Any

from pictor.core.errors import MissingExtraError, PictorError


def connected() -> Any:
    """The module `ray`, connected to a cluster.

    It is the cluster that RAY_ADDRESS names, else one that `ray start` began on this machine, else one of
    this process's own, which ends with it. Ray tells nobody of its use unless RAY_USAGE_STATS_ENABLED is 1.

    Raises:
        MissingExtraError: Ray is not installed.
        PictorError: the cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtraError("work on a cluster needs ray", extra="ray") from None
    if not ray.is_initialized():
        try:
            ray.init(include_dashboard=False, logging_level=logging.WARNING)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise PictorError(
                f"Ray does not begin ({' '.join(str(error).split())[:300]})",
                expected="a running cluster, or none named",
                remedy="Start one with `ray start --head`, or unset RAY_ADDRESS.",
            ) from error
    return ray
