"""The `notify` section of a run config: who is told how a run ended."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from litemill.config.base import Section
from litemill.config.kubernetes import Object, SecretKey, Variable

Event = Literal["failure", "winner", "no_winner", "promotion"]
EVENTS: tuple[Event, ...] = ("failure", "winner", "no_winner", "promotion")


def _no_address(value: object) -> object:
    """Refuse an address without repeating it: whoever has it can post."""
    if isinstance(value, str) and ("/" in value or ":" in value):
        raise ValueError("is an address, and whoever has it can post: give the name of the variable that holds it")
    return value


def _each_once(value: list[Event]) -> list[Event]:
    if len(set(value)) != len(value):
        raise ValueError("names an event twice")
    return value


class WebhookSecret(Section):
    """A key of a Kubernetes secret."""

    name: Object = Field(min_length=1)
    key: SecretKey = Field(min_length=1)


class Webhook(Section):
    """An address that is posted to when a run ends. The address itself is a secret and never in a config."""

    kind: Literal["slack", "teams", "json"] = Field("json", description="what the receiver reads")
    url_env: Annotated[Variable, BeforeValidator(_no_address)] = Field(
        "", description="variable of the environment that holds the address"
    )
    secret: WebhookSecret | None = Field(None, description="name and key of the Kubernetes secret that holds it")
    on: Annotated[list[Event], AfterValidator(_each_once)] = Field(
        list(EVENTS), min_length=1, description=f"when: {', '.join(EVENTS)}"
    )

    @model_validator(mode="after")
    def _address_is_somewhere(self) -> Webhook:
        if not self.url_env and self.secret is None:
            raise ValueError("names no address: give url_env (a variable) or secret (name and key)")
        return self

    def variable(self, place: int) -> str:
        """The variable that holds the address where the run ends.

        Args:
            place: Of this webhook in the config's list.
        """
        return self.url_env or f"LITEMILL_WEBHOOK_{place}"
