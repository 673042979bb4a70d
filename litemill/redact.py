"""Keep secrets out of what is printed, recorded and tracked: whoever writes something calls `redact` or `redacted`.

A secret is known by where it stands (the password of an address, the signature of a signed one, a bearer token), by
its name (`api_key`, `accessToken`, `dsn`), by its form (keys of well-known services), or because it is the value of a
variable of the environment that is named like one (`MLFLOW_TRACKING_PASSWORD`), wherever that value turns up.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, TextIO
from urllib.parse import quote, unquote

HIDDEN = "(hidden)"

_END = r"\s'\"<>`"
"""What ends an address in a text."""
_ADDRESS = re.compile(rf"(?P<scheme>\b[a-z][a-z0-9+.-]{{0,30}}://)(?P<rest>[^{_END}]+)", re.IGNORECASE)
_PORT = re.compile(r"[^:@/]*:\d{1,5}/")
"""A host with its port: what follows is a path, and an `@` in it no end of a password."""
_WORDS = (
    r"pass(?:word|wd|phrase)?|pwd|secrets?|token|credentials?|auth|authorization|bearer|dsn|signature|sig|jwt|cookie|"
    r"(?:api|access|account|private|secret|signing|encryption|shared)[._-]?key(?:[._-]?id)?|aws[._-]?access[._-]?key[._-]?id"
)
_QUERY = re.compile(
    rf"(?P<key>[?&;#](?:[\w.-]{{0,40}}[._-])?(?:{_WORDS}|key|\w{{1,40}}(?:Token|Secret|Password|Key|Signature))=)"
    r"(?:[^&;\s'\"<>\\]|\\(?![\"']))+",
    re.IGNORECASE,
)
_PAIR = re.compile(
    r"(?P<key>(?<![A-Za-z])(?:password|passwd|pwd|passphrase|secret|(?:access|auth|refresh)?token|clientsecret|credential"
    r"|api[_-]?key|access[_-]?key|private[_-]?key|dsn)"
    r"(?:(?:\\?['\"])?\s?:\s?\\?['\"]|['\"]?=['\"]?))(?!\(hidden\))(?:[^\s'\"&;,)}\]\\]|\\(?![\"']))+",
    re.IGNORECASE,
)
"""`password=…` and `"api_key": "…"` in a text. A backslash before a quote is JSON's: what is hidden ends before it."""
_BEARER = re.compile(r"(?P<key>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_KNOWN = re.compile(
    r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|hf_[A-Za-z0-9]{20,}"
    r"|xox[abprs]-[\w-]{10,}|AIza[\w-]{35}|ya29\.[\w-]{10,}|sk-[A-Za-z0-9_-]{20,}|dapi[0-9a-f]{32}"
    r"|eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^\"]{0,10000}?(?:-----END [A-Z ]*PRIVATE KEY-----|(?=\")|\Z)"
)
"""Keys of AWS, GitHub, GitLab, Hugging Face, Slack, Google, OpenAI and Databricks; JSON web tokens; PEM files."""
_WEBHOOK = re.compile(
    rf"(?P<key>https?://(?:hooks\.[\w.-]{{1,100}}/|[\w.-]{{1,100}}(?::\d+)?/[\w./-]{{0,100}}?\b(?:web)?hook(?:s|b2)?/"
    rf"|api\.telegram\.org/bot))[^{_END}?#]+",
    re.IGNORECASE,
)
"""Addresses that whoever knows them may post to: Slack's, Discord's, Teams', Telegram's, others that say `webhook`."""
_SHORTEST = 8
"""Characters of a variable's value that is looked for in texts: what is shorter is in many of them by chance."""
_WORD = re.compile(r"[a-z_]+|[A-Z_]+|[\d.]+|/.*", re.DOTALL)
"""Values that are no secrets, or that would blank out common words: one word, a number, a path."""
_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS = frozenset({"password", "passwd", "pwd", "passphrase", "secret", "secrets", "token", "credential"})
_SECRET_WORDS |= {"credentials", "auth", "authorization", "bearer", "dsn", "apikey", "accesskey", "privatekey"}
_SECRET_WORDS |= {"jwt", "cookie"}
_LAST_WORDS = frozenset({"pass", "key"})
"""Words that name a secret where a name ends in them: `db_pass`, not `pass_through`."""


def redact(text: str) -> str:
    """Return `text` without user names and passwords of addresses, signatures of signed addresses, tokens and keys.

    >>> redact("postgresql://me:se/cr@et@db/mlflow")
    'postgresql://(hidden)@db/mlflow'
    """
    if own := _own_secrets(tuple(os.environ.items())):
        text = own.sub(HIDDEN, text)
    text = _ADDRESS.sub(_without_user, text)
    for pattern in (_QUERY, _BEARER, _PAIR, _WEBHOOK):
        text = pattern.sub(rf"\g<key>{HIDDEN}", text)
    return _KNOWN.sub(HIDDEN, text)


@lru_cache(maxsize=4)
def _own_secrets(environment: tuple[tuple[str, str], ...]) -> re.Pattern[str] | None:
    """What finds the secrets that the variables of the environment hold; None where there are none."""
    found = {form for name, value in environment for secret in _held(name, value) for form in _forms(secret)}
    if not found:
        return None
    longest_first = "|".join(re.escape(form) for form in sorted(found, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9])(?:{longest_first})(?![A-Za-z0-9])")


def _held(name: str, value: str) -> Iterator[str]:
    """The secrets in a variable: its value where the name says so, the password of an address in any."""
    words = ["", *(word.lower() for word in _SPLIT.findall(name))]
    named = words[-1] in _SECRET_WORDS | _LAST_WORDS or words[-3:] == ["access", "key", "id"]
    hook = not {"webhook", "webhooks", "hook"}.isdisjoint(words)  # whoever has such an address can post to it
    held = [value.strip()] if hook or (named and "://" not in value) else []
    for address in _ADDRESS.finditer(value):
        user, mark, _ = address["rest"].rpartition("@")
        held += [user.partition(":")[2]] if mark and ":" in user and not _PORT.match(address["rest"]) else []
    for secret in held:
        if len(secret) >= _SHORTEST and not _WORD.fullmatch(secret):
            yield secret


def _forms(secret: str) -> set[str]:
    """A secret as it may be written: as it is, in JSON, in an address, and without that."""
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    return {*forms, quote(secret), quote(secret, safe=""), unquote(secret)}


def _without_user(found: re.Match[str]) -> str:
    """An address without a password, and without a lone user where that may be a token: in http, not in ssh."""
    scheme, rest = found["scheme"], found["rest"]
    user, mark, _ = rest.partition("@")
    if not mark or _PORT.match(rest):
        return found[0]
    if ":" in user:  # a password may hold `/` and `@` too: it ends at the last `@`
        return f"{scheme}{HIDDEN}@{rest.rpartition('@')[2]}"
    if "/" not in user and scheme.lower() in ("http://", "https://"):
        return f"{scheme}{HIDDEN}@{rest.partition('@')[2]}"
    return found[0]


def names_secret(name: str) -> bool:
    """Whether a value of this name is a secret: `db-password`, `accessToken`, `api_key`; not `tokenizer.size`."""
    words = [word.lower() for word in _SPLIT.findall(name)]
    return bool(words) and (not _SECRET_WORDS.isdisjoint(words) or words[-1] in _LAST_WORDS)


def redact_value(name: str, value: str) -> str:
    """Return a named value fit to be recorded: nothing of it when the name says that it is a secret."""
    return HIDDEN if value and names_secret(name) else redact(value)


def redacted(value: Any, name: str = "") -> Any:
    """Plain data (mappings, lists, texts, numbers) with every text in it fit to be recorded."""
    if isinstance(value, str):
        return redact_value(name, value)
    if isinstance(value, Mapping):
        return {key: redacted(part, str(key)) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(part, name) for part in value]
    return value


class RedactingFormatter(logging.Formatter):
    """Log lines without secrets, those of other libraries and of tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        return redact(super().format(record))


KEY_BEGINS, KEY_ENDS = re.compile("-----BEGIN [A-Z ]*PRIVATE KEY-----"), "-----END "
KEY_LINE = re.compile(r"\s*(?:[A-Za-z0-9+/=]*|[A-Za-z-]+: .*)\s*")
"""Of a PEM file, between its first and its last line: base64, or a header."""


class RedactedLines:
    """A stream that passes on what is written line by line, without secrets.

    Args:
        file: Where it goes.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self._line = ""
        self._in_key = False

    def write(self, text: str) -> int:
        """Write whole lines; the rest waits for its end."""
        *lines, self._line = (self._line + text).split("\n")
        self.file.writelines(self._clean(line) + "\n" for line in lines)
        return len(text)

    def _clean(self, line: str) -> str:
        """A line without secrets; of a key's file none of the lines between its first and its last."""
        if self._in_key:
            self._in_key = KEY_ENDS not in line and (KEY_LINE.fullmatch(line) is not None)
            if self._in_key or KEY_ENDS in line:
                return HIDDEN
        self._in_key = KEY_BEGINS.search(line) is not None and KEY_ENDS not in line
        return redact(line)

    def __getattr__(self, name: str) -> Any:
        """What else a stream has is the file's."""
        return getattr(self.file, name)

    def flush(self) -> None:
        """Pass on whole lines."""
        self.file.flush()

    def close(self) -> None:
        """Pass on what has no end, too; nothing where the stream below was closed before."""
        if self.file.closed:
            return
        self.file.write(self._clean(self._line))
        self._line = ""
        self.file.flush()
