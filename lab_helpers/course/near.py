"""Applies a near miss: makes the state that looks done and is not, lets somebody look, and brings the old one back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lab_helpers.core.errors import MachineError
from lab_helpers.course.declare import NearMiss
from lab_helpers.course.limits import OvertimeError, time_limit
from lab_helpers.course.verdict import Verdict

if TYPE_CHECKING:
    from lab_helpers.course.world import World


@dataclass
class Tried:
    """What came of a near miss: the verdict while it held (None: it was never reached), and what went wrong with it."""

    verdict: Verdict | None = None
    complaints: list[str] = field(default_factory=list)


def with_near_miss(near: NearMiss, world: World, look: Callable[[], Verdict], limit_s: float) -> Tried:
    """Apply `near`, look, undo. Making it and undoing it may take `limit_s` seconds each; then they are stopped.

    MachineError and KeyboardInterrupt pass.
    """
    tried = Tried()
    action = near.apply(world)
    try:
        with time_limit(limit_s, "applying it"):
            next(action)
    except StopIteration:
        tried.complaints.append("it is over without a yield: the state it makes was never there")
        return tried
    except MachineError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in a lesson is a miss, with what it said
        tried.complaints.append(f"it could not be applied: {_said(error)}")
        return tried
    tried.verdict = look()
    try:
        with time_limit(limit_s, "undoing it"):
            next(action)
        tried.complaints.append("it yields twice: what follows the second yield is never run")
    except StopIteration:
        pass
    except MachineError:
        raise
    except Exception as error:  # noqa: BLE001
        tried.complaints.append(f"it could not be undone: {_said(error)}")
    return tried


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, OvertimeError) else f"{type(error).__name__}: {error}"
