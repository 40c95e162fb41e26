"""Ed25519 signatures (RFC 8032) over a manifest's bytes. Needs the extra `deepseek-core[sign]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deepseek_core.errors import PackageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["generate_key", "sign", "verify_signature"]


def generate_key() -> tuple[bytes, bytes]:
    """A new key pair as PEM: private (PKCS #8, not encrypted) and public."""
    key = _module().Ed25519PrivateKey.generate()
    from cryptography.hazmat.primitives import serialization as forms

    private = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    public = key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def sign(message: bytes, private_pem: bytes) -> bytes:
    """The 64-byte signature of `message`.

    Raises:
        PackageError: the key is not an Ed25519 private key in PEM, or `cryptography` is not installed.
    """
    key: Ed25519PrivateKey = _key(private_pem, private=True)
    return key.sign(message)


def verify_signature(signature: bytes, message: bytes, public_pem: bytes) -> None:
    """Check a signature.

    Raises:
        PackageError: it is not of this message and key, or the key cannot be read.
    """
    key: Ed25519PublicKey = _key(public_pem, private=False)
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, message)
    except InvalidSignature:
        raise PackageError(
            "the signature is not valid: the package was changed, or signed with another key",
            fix="get the package again from its source, or give the signer's public key",
        ) from None


def _module() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise PackageError(
            "signatures need the package cryptography", fix="pip install 'deepseek-core[sign]'"
        ) from None
    return ed25519


def _key(pem: bytes, *, private: bool) -> Any:
    module = _module()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    kind = "private" if private else "public"
    try:
        key = load_pem_private_key(pem, None) if private else load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, module.Ed25519PrivateKey if private else module.Ed25519PublicKey):
        raise PackageError(
            f"the key is not an unencrypted Ed25519 {kind} key in PEM form",
            fix="make one with `openssl genpkey -algorithm ed25519` (and `openssl pkey -pubout`)",
        )
    return key
