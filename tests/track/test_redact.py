"""Secrets never reach the store."""

import pytest

from litemill.track.redact import HIDDEN, redact, redact_value


@pytest.mark.parametrize(
    ("text", "kept", "gone"),
    [
        ("postgresql://me:hunter2@db:5432/mlflow", "@db:5432/mlflow", "hunter2"),
        ("https://token@host/path", "host/path", "token"),
        ("https://h/o?X-Goog-Credential=me&X-Goog-Signature=abc123&alt=media", "alt=media", "abc123"),
        ("refused: Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.x", "refused: Authorization: Bearer", "eyJ"),
    ],
)
def test_credentials_are_cut_out_and_the_rest_stays(text: str, kept: str, gone: str) -> None:
    answer = redact(text)
    assert kept in answer
    assert gone not in answer


@pytest.mark.parametrize(
    "text", ["gs://bucket/model.keras", "ssh://pi@lab", "a:b@c", "prune → int8", "mail me@example.org", "25% of x"]
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("name", ["password", "mlflow.token", "db-password", "aws_secret_access_key", "api_key"])
def test_a_value_named_like_a_secret_is_hidden(name: str) -> None:
    assert redact_value(name, "anything") == HIDDEN


@pytest.mark.parametrize("name", ["tokenizer.size", "keyword_spotting", "training.seed", "sha256"])
def test_a_name_that_only_looks_similar_is_kept(name: str) -> None:
    assert redact_value(name, "1") == "1"
