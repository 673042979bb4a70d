"""What is done to each `.tflite` before it is evaluated, measured and shipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from litemill.config.base import Section
from litemill.config.budget import Budget
from litemill.config.objective import Objective
from litemill.config.targets import TargetSpec, kind_of
from litemill.errors import shown


class Deploy(Section):
    """What is done to each `.tflite` before it is evaluated, measured and shipped."""

    slim: bool = Field(
        True, description="store once what is equal, drop what no runtime reads; proved to change no output"
    )
    keep: list[Literal["names", "signatures", "metadata"]] = Field(
        ["signatures"], description="what slimming leaves in; names are those of inner tensors"
    )
    lut: Literal["auto", True, False] = Field(
        "auto",
        description="second file for microcontrollers whose repeated int8 weights are look-up tables; auto: where a "
        "target tflm is, unless its arena is the objective",
    )
    lut_arena_bytes: PositiveInt | None = Field(
        None,
        description="what the arena of that file may have; default: the least budget.max_arena_bytes of a target tflm, "
        "and without one it may grow by as many bytes as the file shrinks",
    )

    @field_validator("lut", mode="before")
    @classmethod
    def _a_switch(cls, value: object) -> object:
        if not isinstance(value, str | bool) or (isinstance(value, str) and value != "auto"):
            raise ValueError(f"is auto, true or false, not {shown(value)}")
        return value


def settled(deploy: Deploy, targets: Sequence[TargetSpec], budget: Budget, objective: str) -> Deploy:
    """The section as a task gets it: with what targets, budget and objective say to look-up tables.

    Args:
        deploy: As it was written.
        targets: Where variants are run.
        budget: May limit the arena on one of them.
        objective: What is minimised; tables make a file smaller at the cost of the arena.
    """
    micro = [target.name for target in targets if kind_of(target).look_up_tables]
    goal = Objective.parse(objective)
    automatic = bool(micro) and not (goal.kind == "arena" and goal.target in micro)
    wanted = automatic if deploy.lut == "auto" else deploy.lut
    limits = [budget.max_arena_bytes[name] for name in micro if name in budget.max_arena_bytes]
    arena = deploy.lut_arena_bytes or (min(limits) if limits and wanted else None)
    return deploy.model_copy(update={"lut": wanted, "lut_arena_bytes": arena})
