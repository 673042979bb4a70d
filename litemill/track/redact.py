"""Keep secrets out of what is tracked: credentials in addresses, and values whose name says that they are secret."""

from __future__ import annotations

import re

HIDDEN = "(hidden)"
_USER_INFO = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?:(?<=http://)[^/@\s]+|(?<=https://)[^/@\s]+|[^/@:\s]*:[^/@\s]+)@", re.IGNORECASE
)
"""Any password, and a lone user where it may be a token: in http addresses, not in `ssh://pi@host`."""
_SIGNED = re.compile(
    r"(?P<key>[?&;](?:x-goog-|x-amz-)?(?:access_?token|token|signature|sig|credential|password|key|secret)=)[^&;\s'\"]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<key>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"(^|[._-])(password|passwd|pwd|secret|token|credentials?|api_?key|access_?key|private_?key)($|[._-])",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return `text` without user names and passwords of addresses, signatures of signed addresses and bearer tokens.

    >>> redact("postgresql://me:secret@db/mlflow")
    'postgresql://(hidden)@db/mlflow'
    """
    text = _USER_INFO.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _SIGNED.sub(rf"\g<key>{HIDDEN}", text)
    return _BEARER.sub(rf"\g<key>{HIDDEN}", text)


def redact_value(name: str, value: str) -> str:
    """Return a named value fit to be tracked: nothing of it when the name says that it is a secret."""
    return HIDDEN if value and _SECRET_NAME.search(name) else redact(value)
