"""The champion: the version in the model registry that devices get now. The winner of a run must not be worse."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ChampionVersion(BaseModel):
    """Which version of which registered model it is."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="of the registered model")
    version: str = Field("", description="in the registry; empty where the model has no champion yet")
    sha256: str = Field("", description="of its .tflite, as the registry has it on record")

    @property
    def there(self) -> bool:
        """Whether there is a champion."""
        return bool(self.version)

    def __str__(self) -> str:
        return f"{self.name} version {self.version}" if self.version else f"no champion of {self.name} yet"
