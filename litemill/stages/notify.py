"""Post the outcome of a run to webhooks: Slack, Teams, or plain JSON. Nothing here ever fails a run."""

from __future__ import annotations

import json
import logging
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from litemill import __version__
from litemill.track.outcome import Outcome

log = logging.getLogger(__name__)

SECONDS_TO_ANSWER, SECONDS_IN_ALL = 10.0, 15.0
LONGEST = 2500
"""Characters of a text: Slack cuts a block at 3,000."""


def notify(outcome: Outcome, webhooks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Post an outcome to the webhooks that want to know of it.

    Args:
        outcome: How the run ended.
        webhooks: Each with `kind`, `on` and `variable`, the name of the variable that holds the address.

    Returns:
        What went wrong, one sentence for each webhook that did not take it; without any address.
    """
    problems = []
    for place, hook in enumerate(webhooks):
        if not set(hook["on"]) & set(outcome.events):
            continue
        variable = str(hook["variable"])
        if problem := _post(os.environ.get(variable, "").strip(), payload(str(hook["kind"]), outcome)):
            problems.append(f"notify.{place} ({hook['kind']}, {variable}): {problem}")
            log.warning("%s", problems[-1])
    return problems


def payload(kind: str, outcome: Outcome) -> dict[str, Any]:
    """What a receiver of a kind reads."""
    if kind == "slack":
        return _slack(outcome)
    if kind == "teams":
        return _teams(outcome)
    return {"version": __version__, "title": outcome.title, "events": outcome.events, **outcome.model_dump(mode="json")}


def _slack(outcome: Outcome) -> dict[str, Any]:
    links = "  ".join(f"<{address}|{name}>" for name, address in outcome.links.items())
    lines = [f"*{_plain(outcome.title)}*", *map(_plain, outcome.lines), links]
    text = "\n".join(line for line in lines if line)[:LONGEST]
    return {"text": outcome.title, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]}


def _plain(text: str) -> str:
    """Text that Slack shows as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(outcome: Outcome) -> dict[str, Any]:
    body = [{"type": "TextBlock", "text": outcome.title, "weight": "Bolder", "size": "Medium", "wrap": True}]
    body += [{"type": "TextBlock", "text": line[:LONGEST], "wrap": True} for line in outcome.lines]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [
            {"type": "Action.OpenUrl", "title": name, "url": address} for name, address in outcome.links.items()
        ],
    }
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "contentUrl": None, "content": card}]}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An address is posted to as it is, and not to where its server points."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow nothing."""
        return


def _post(address: str, content: Mapping[str, Any]) -> str:
    """Post JSON within a bounded time; returns what went wrong, without the address."""
    if not address:
        return "its variable is not set"
    try:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return "its variable does not hold an http(s) address"
        data, head = json.dumps(content).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(address, data=data, headers=head, method="POST")  # noqa: S310 (checked above)
    except ValueError:
        return "its variable does not hold an http(s) address"
    problem = ["it did not answer in time"]
    # A thread: no time limit of a socket holds for a server that answers a byte now and then.
    sender = threading.Thread(target=lambda: problem.__setitem__(0, _sent(request)), daemon=True)
    sender.start()
    sender.join(SECONDS_IN_ALL)
    return problem[0]


def _sent(request: urllib.request.Request) -> str:
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=SECONDS_TO_ANSWER):
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code}"
    except TimeoutError:
        return "it did not answer in time"
    except Exception as error:  # whatever it is, a webhook fails no run; texts of errors may hold the address
        reason = getattr(error, "reason", error)
        return f"it cannot be reached ({getattr(reason, 'strerror', None) or type(reason).__name__})"
