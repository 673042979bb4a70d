"""A signature over all files of a release, in the format of Sigstore's model-signing (key mode).

`model_signing verify key RELEASE --signature RELEASE/model.sig --public_key KEY` checks it as well. The format is
written here because that package brings Sigstore's network clients, 15 packages that signing with a key never uses.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litemill.errors import ConfigError
from litemill.shipping.manifest import SIGNATURE, Tampered, digests_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

PAYLOAD = "application/vnd.in-toto+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT, PREDICATE = "https://in-toto.io/Statement/v1", "https://model_signing/signature/v1.0"
CURVES = ("secp256r1", "secp384r1", "secp521r1")
MOST_NAMED = 5
PASSWORD = "_PASSWORD"  # noqa: S105 (the end of a variable's name)
MAKE_KEY = "Make one: openssl ecparam -name prime256v1 -genkey -noout -out key.pem"


def private_key(variable: str) -> ec.EllipticCurvePrivateKey:
    """The private key that a variable of the environment holds, or names the file of.

    Args:
        variable: Its name. A password is in the variable of that name with `_PASSWORD` at its end.

    Raises:
        ConfigError: It is not set, or does not hold such a key. The message holds nothing of it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    held = os.environ.get(variable, "").strip()
    if not held:
        raise ConfigError("the variable that should hold the signing key is not set", where=variable, fix=MAKE_KEY)
    password = os.environ.get(variable + PASSWORD, "")
    try:
        pem = held.encode() if held.startswith("-----BEGIN") else Path(held).read_bytes()
        key = serialization.load_pem_private_key(pem, password.encode() or None)
    except OSError as error:
        raise ConfigError(f"the file of the signing key cannot be read ({error.strerror})", where=variable) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        what = "does not hold a private key in PEM that can be opened"
        raise ConfigError(what, where=variable, fix=f"A password is in {variable}{PASSWORD}. {MAKE_KEY}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise ConfigError(f"is not a key on one of the curves {', '.join(CURVES)}", where=variable, fix=MAKE_KEY)
    return key


def public_pem(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> bytes:
    """The public key as PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(pem: bytes) -> str:
    """What a public key is called: SHA-256 of its PEM."""
    return hashlib.sha256(pem).hexdigest()


def sign(folder: Path, name: str, key: ec.EllipticCurvePrivateKey) -> None:
    """Write the signature over all files of a folder into it.

    Args:
        folder: Complete but for the signature.
        name: What the release is called.
        key: The private key.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    payload = json.dumps(_statement(folder, name), sort_keys=True).encode()
    signed = key.sign(_encoded(payload), ec.ECDSA(_hash(key.curve.key_size)))
    bundle = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": fingerprint(public_pem(key))}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signed).decode(), "keyid": ""}],
        },
    }
    (folder / SIGNATURE).write_text(json.dumps(bundle, sort_keys=True) + "\n", encoding="utf-8")


def check_signature(folder: Path, pem: bytes) -> None:
    """Hold the files of a folder against its signature.

    Args:
        folder: The release.
        pem: The signer's public key.

    Raises:
        Tampered: The signature is not one by this key over these files; names what differs.
        ConfigError: That is not a public key.
    """
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    where = str(folder / SIGNATURE)
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("is not a public key in PEM", where="the signer's key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise ConfigError(f"is not a key on one of the curves {', '.join(CURVES)}", where="the signer's key")
    payload, signed, hint = _opened(folder / SIGNATURE)
    if hint != fingerprint(public_pem(key)):
        raise Tampered("was made with another key than the one given", where=where)
    try:
        key.verify(signed, _encoded(payload), ec.ECDSA(_hash(key.curve.key_size)))
    except InvalidSignature:
        raise Tampered("is not a signature by its key over what it names", where=where) from None
    expected = {one["name"]: one["digest"] for one in json.loads(payload)["predicate"]["resources"]}
    found = digests_of(folder, without=(SIGNATURE,))
    differ = [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]
    if differ:
        raise Tampered(f"is over other files than these: {', '.join(differ[:MOST_NAMED])}", where=where)


def _opened(file: Path) -> tuple[bytes, bytes, str]:
    """Payload, signature and hint at the key of a bundle that is exactly as it was written.

    Raises:
        Tampered: It is not of that form.
    """
    try:
        text = file.read_text(encoding="utf-8")
        bundle = json.loads(text)
        envelope = bundle["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signed = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        hint = str(bundle["verificationMaterial"]["publicKey"]["hint"])
        whole = (bundle["mediaType"], envelope["payloadType"]) == (BUNDLE, PAYLOAD)
        canonical = base64.b64encode(payload).decode() == envelope["payload"]
        same = text == json.dumps(bundle, sort_keys=True) + "\n" and canonical
    except (OSError, ValueError, KeyError, IndexError, TypeError, binascii.Error):
        whole = same = False
        payload = signed = b""
        hint = ""
    if not (whole and same):
        raise Tampered("is not a signature in the format of model-signing", where=str(file))
    return payload, signed, hint


def _statement(folder: Path, name: str) -> dict[str, Any]:
    """What is signed: an in-toto statement that names each file with its digest."""
    digests = digests_of(folder, without=(SIGNATURE,))
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests.values()))
    resources = [{"name": file, "algorithm": "sha256", "digest": digest} for file, digest in digests.items()]
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [SIGNATURE],
    }
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": root.hexdigest()}}],
        "predicateType": PREDICATE,
        "predicate": {"serialization": serialization, "resources": resources},
    }


def _encoded(payload: bytes) -> bytes:
    """What a DSSE signature is over."""
    return b" ".join([b"DSSEv1", str(len(PAYLOAD)).encode(), PAYLOAD.encode(), str(len(payload)).encode(), payload])


def _hash(bits: int) -> Any:
    from cryptography.hazmat.primitives import hashes

    return {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[bits]
