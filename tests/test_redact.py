"""Secrets leave no trace: not in what is printed, not in what is recorded, and a config cannot hold one."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from litemill.artifacts.files import write_manifest
from litemill.cli.console import PlainConsole, styled
from litemill.config.load import load_config
from litemill.config.run import RunSpec
from litemill.errors import ConfigError, InputError
from litemill.evidence.variant import VariantManifest
from litemill.redact import HIDDEN, RedactedLines, RedactingFormatter, names_secret, redact, redact_value, redacted

SECRETS = {
    "a password": ("postgresql://me:hunter2@db:5432/mlflow", "@db:5432/mlflow", "hunter2"),
    "a password with a slash": ("postgresql://me:hun/ter2@db:5432/mlflow", "@db:5432/mlflow", "ter2"),
    "a password with an at": ("mysql+pymysql://me:p@ss@db/mlflow", "@db/mlflow", "ss@"),
    "a password alone": ("redis://:hunter2@cache:6379/0", "@cache:6379/0", "hunter2"),
    "a token as a user": ("https://hunter2@host/path", "host/path", "hunter2"),
    "a signed address of Google": (
        "https://h/o?X-Goog-Credential=me&X-Goog-Signature=abc123&alt=media",
        "alt=media",
        "abc123",
    ),
    "a signed address of Azure": ("https://h/o?se=2026&sig=hunter2%3D", "se=2026", "hunter2"),
    "a key in a query": ("https://h/o?alt=1&api_key=hunter2", "alt=1", "hunter2"),
    "auth in a query": ("https://h/o?auth=hunter2&alt=1", "alt=1", "hunter2"),
    "a token in camel case": ("https://h/o?accessToken=hunter2", "https://h/o", "hunter2"),
    "a bearer token": ("refused: Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.x", "refused: Auth", "eyJ"),
    "a connection string": ("host=db password=hunter2 dbname=m", "dbname=m", "hunter2"),
    "JSON": ('{"api_key": "hunter2", "n": 1}', '"n": 1', "hunter2"),
    "a key of AWS": ("denied for AKIAABCDEFGHIJKLMNOP in eu", "denied for", "AKIA"),
    "a key of GitHub": ("ghp_0123456789abcdefghijABCDEFGHIJ failed", "failed", "ghp_"),
    "a webhook of Slack": ("post to https://hooks.slack.com/services/T0/B0/hunter2 failed", "failed", "hunter2"),
    "a webhook of Teams": ("https://me.webhook.office.com/webhookb2/hunter2/IncomingWebhook/x y", " y", "hunter2"),
    "a webhook": ("https://h:8080/a/webhooks/1/hunter2?wait=true", "?wait=true", "hunter2"),
    "a bot of Telegram": ("https://api.telegram.org/bot123:hunter2/send y", " y", "hunter2"),
    "a key file": ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----", "", "hunter2"),
}
HARMLESS = [
    "gs://bucket/model@2.keras",
    "ssh://pi@lab",
    "http://localhost:5000/#/models/digits@champion",
    "models:/digits@champion",
    "a:b@c",
    "prune → int8",
    "mail me@example.org",
    "25% of x",
    "unknown key 'token'; did you mean 'tokens'?",
    "found unexpected token: x",
    "max_tokens=5, monkey=5, tokenizer=bert",
    "sqlite:////tmp/mlflow.db",
    "https://github.com/a/b/pull/3",
    "a private key is needed",
]


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_cut_out_wherever_a_text_goes_and_the_rest_stays(name: str, tmp_path: Path) -> None:
    text, kept, gone = SECRETS[name]
    screen, log, tasks = io.StringIO(), io.StringIO(), io.StringIO()
    PlainConsole(screen, width=200).print(text, styled((text, "bold")))
    handler = logging.StreamHandler(log)
    handler.setFormatter(RedactingFormatter())
    handler.handle(logging.LogRecord("x", logging.ERROR, "", 0, "%s", (text,), None))
    run_log = RedactedLines(tasks)
    run_log.write(text.replace("\n", " "))
    run_log.write("\n")
    manifest = VariantManifest(recipe="r", steps=["int8"], scheme="int8", status="failed", reason=f"failed: {text}")
    write_manifest(tmp_path / "variant.json", manifest)
    places = [
        redact(text),
        str(InputError("x", where=text)),
        str(InputError(text)),
        screen.getvalue(),
        log.getvalue(),
        tasks.getvalue(),
        (tmp_path / "variant.json").read_text(),
    ]
    assert [place for place in places if gone in place] == []
    assert all(kept in place for place in places[:-1])


@pytest.mark.parametrize("name", SECRETS)
def test_json_stays_json(name: str) -> None:
    text, _, gone = SECRETS[name]
    written = json.dumps({"a": f'see "{text}" now', "b": [text, 1]})
    read = json.loads(redact(written))
    assert read["b"][1] == 1 and gone not in redact(written) and read["a"].endswith(" now")


@pytest.mark.parametrize(
    ("name", "value", "written", "gone"),
    [
        ("MLFLOW_TRACKING_PASSWORD", "hunter2-or-3", "401 for hunter2-or-3!", "hunter2"),
        ("AWS_SECRET_ACCESS_KEY", 'a"b/c+d12', r'{"x": "a\"b/c+d12"}', "c+d12"),
        ("MINIO_ACCESS_KEY_ID", "minio-user-1", "no bucket of minio-user-1", "minio-user-1"),
        ("LITEMILL_WEBHOOK_0", "https://ci.example.org/n/ab12", "to https://ci.example.org/n/ab12: 404", "ab12"),
        ("DB", "postgresql://me:p%40ss-word-1@db/x", "nothing for p@ss-word-1 here", "word-1"),
        ("MLFLOW_TRACKING_URI", "http://me:hunter2-or-3@h", "<hunter2-or-3>", "hunter2"),
    ],
    ids=range(6),  # pytest keeps a test's id in the environment
)
def test_secrets_of_the_environment_are_hidden_wherever_they_turn_up(
    name: str, value: str, written: str, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert redact(written) == written
    monkeypatch.setenv(name, value)
    assert gone not in redact(written) and HIDDEN in redact(written)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MY_TOKEN", "accuracy"),
        ("MY_KEY", "0.1234567"),
        ("SSH_AUTH_SOCK", "/tmp/a"),
        ("SECRET_NAME", "team-a-secret-1"),
    ],
)
def test_what_only_looks_like_a_secret_of_the_environment_is_kept(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert redact(f"{value} is {value}") == f"{value} is {value}"


def test_a_key_file_in_a_log_is_hidden_line_by_line() -> None:
    written = io.StringIO()
    log = RedactedLines(written)
    for line in (
        "before",
        "INFO -----BEGIN EC PRIVATE KEY-----",
        "",
        "aGVsbG8+/=",
        "-----END EC PRIVATE KEY-----",
        "x",
    ):
        log.write(f"{line}\n")
    log.write("-----BEGIN PRIVATE KEY-----\naGVsbG8\nwhat follows is no key\naGVsbG8")
    log.close()
    lines = written.getvalue().splitlines()
    assert (lines[0], lines[5], lines[-2]) == ("before", "x", "what follows is no key")
    assert written.getvalue().count("aGVsbG8") == 1


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "mlflow.token",
        "db-password",
        "aws_secret_access_key",
        "api_key",
        "auth",
        "db_pass",
        "dsn",
        "key",
        "accessToken",
        "bearer",
        "APIKey",
    ],
)
def test_a_value_named_like_a_secret_is_hidden(name: str) -> None:
    assert redact_value(name, "anything") == HIDDEN
    assert redacted({"a": [{name: "anything"}]}) == {"a": [{name: HIDDEN}]}


@pytest.mark.parametrize(
    "name", ["tokenizer.size", "keyword_spotting", "training.seed", "sha256", "max_tokens", "author", "pass_through"]
)
def test_a_name_that_only_looks_similar_is_kept(name: str) -> None:
    assert not names_secret(name)


def test_a_long_text_takes_no_time() -> None:
    began = time.monotonic()
    for text in ("http://" * 20_000, "a." * 100_000, "password" * 50_000, "eyJ" + "a" * 500_000, "://" * 100_000):
        redact(text)
    assert time.monotonic() - began < 60, "linear, also on a slow machine: quadratic would be hours"


PROGRAM = """
import typer
from litemill.cli import console

app = typer.Typer(pretty_exceptions_enable=False)

@app.command()
def leak() -> None:
    print("own: https://h/?token=hunter2", end="")
    raise RuntimeError("bug: Authorization: Bearer hunter2-hunter2")

console.run(app)
"""


def test_the_command_line_prints_none_where_it_writes_to_a_log_and_none_in_the_traceback_of_a_bug() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == f"own: https://h/?token={HIDDEN}"
    assert done.stderr.splitlines()[-1] == f"RuntimeError: bug: Authorization: Bearer {HIDDEN}"
    assert "hunter2" not in done.stderr


CONFIG = "name: t\nmodel: {uri: %s}\ndata: {kind: python, options: {function: 'a:b', arguments: {%s}}}\n"


@pytest.mark.parametrize(
    ("uri", "arguments", "line", "key"),
    [
        ("https://me:hunter2@host/m.keras", "n: 1", 2, "model.uri"),
        ("gs://b/m.keras?sig=hunter2", "n: 1", 2, "model.uri"),
        ("m.keras", "api_key: hunter2", 3, "data.options.arguments.api_key"),
        ("m.keras", "deep: {dsn: hunter2}", 3, "data.options.arguments.deep.dsn"),
        ("m.keras", "store: ['s3://me:hunter2@b']", 3, "data.options.arguments.store.0"),
    ],
)
def test_a_config_that_holds_a_secret_is_refused_without_repeating_it(
    uri: str, arguments: str, line: int, key: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG % (uri, arguments) + "recipes: {int8: [int8]}\n")
    with pytest.raises(ConfigError, match=f"run.yaml:{line}: {key} looks like a secret. .*environment") as caught:
        load_config(path)
    assert "hunter2" not in str(caught.value)


def test_a_spec_built_in_python_is_looked_at_too() -> None:
    with pytest.raises(ValueError, match=r"model\.uri looks like a secret"):
        RunSpec.model_validate(
            {
                "name": "t",
                "model": {"uri": "https://h/m?token=hunter2"},
                "data": {"kind": "digits"},
                "recipes": {"i": ["int8"]},
            }
        )


def test_names_that_kubernetes_calls_secrets_are_none(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    cluster = "{secrets: [{name: mlflow, env: {MLFLOW_TRACKING_PASSWORD: password}}], tolerations: [{key: auth}]}"
    path.write_text(CONFIG % ("m.keras", "n: 1") + f"recipes: {{token: [int8]}}\ncluster: {cluster}\n")
    assert load_config(path).cluster.secrets[0].env == {"MLFLOW_TRACKING_PASSWORD": "password"}


@pytest.mark.parametrize(
    "text", ["[/foo]", "[/b] [red]x", ":bug:", "a\\", "[link=file:///etc]x[/link]", "\x1b]0;x\x07"]
)
def test_a_text_that_looks_like_markup_is_printed_as_it_is(text: str) -> None:
    from rich.table import Table
    from rich.tree import Tree

    screen = io.StringIO()
    table = Table(text, title=text)
    table.add_row(text)
    console = PlainConsole(screen, width=200)
    for one in (text, styled("a ", (text, "bold")), table, Tree(text)):
        console.print(one)
    shown = text.replace("\x1b", "\\x1b").replace("\x07", "\\x07")
    assert screen.getvalue().count(shown) == 6
    assert "\x1b" not in screen.getvalue()
