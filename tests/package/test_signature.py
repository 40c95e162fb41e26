"""Ed25519 signatures over the manifest."""

import subprocess
import sys

import pytest

from deepseek_core.errors import PackageError
from deepseek_core.package import Package, generate_key
from deepseek_core.package.signing import sign, verify_signature

pytest.importorskip("cryptography", reason="signatures are an extra")


def test_signed_package_opens_with_the_key(tmp_path, package):
    private, public = generate_key()
    package.save(tmp_path / "a.ds", key=private)
    assert Package.open(tmp_path / "a.ds", public).manifest.signature == "verified"
    assert Package.open(tmp_path / "a.ds").manifest.signature == "unverified"


def test_another_key_is_refused(tmp_path, package):
    package.save(tmp_path / "a.ds", key=generate_key()[0])
    with pytest.raises(PackageError, match="signature is not valid"):
        Package.open(tmp_path / "a.ds", generate_key()[1])


def test_unsigned_package_is_refused_when_a_key_is_given(tmp_path, package):
    package.save(tmp_path / "a.ds")
    with pytest.raises(PackageError, match="is not signed"):
        Package.open(tmp_path / "a.ds", generate_key()[1])


def test_signature_of_another_package_is_refused(tmp_path, package, model):
    private, public = generate_key()
    package.save(tmp_path / "a.ds", key=private)
    Package(model()).save(tmp_path / "b.ds", key=private)
    a, b = (tmp_path / "a.ds").read_bytes(), (tmp_path / "b.ds").read_bytes()
    signatures = [data[data.rindex(b"}\n") + 2 :] for data in (a, b)]
    assert signatures[0] != signatures[1]
    with pytest.raises(PackageError):
        Package.read(a.replace(signatures[0], signatures[1]), public)


def test_rfc_8032_vector():
    """Section 7.1, test 2."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signature = sign(b"\x72", private)
    assert signature.hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    verify_signature(signature, b"\x72", public)


@pytest.mark.parametrize("key", [b"", b"junk", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_unusable_keys(tmp_path, package, key):
    with pytest.raises(PackageError, match="Ed25519 private key"):
        package.save(tmp_path / "a.ds", key=key)
    assert not list(tmp_path.iterdir())
    package.save(tmp_path / "a.ds", key=generate_key()[0])
    with pytest.raises(PackageError, match="Ed25519 public key"):
        Package.open(tmp_path / "a.ds", key)


def test_key_of_another_kind():
    from cryptography.hazmat.primitives.asymmetric import x25519
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    other = x25519.X25519PrivateKey.generate().public_key()
    with pytest.raises(PackageError, match="Ed25519 public key"):
        verify_signature(bytes(64), b"", other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def test_openssl_keys_work(tmp_path, package):
    try:
        private = subprocess.run(
            ["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, check=True
        ).stdout
        public = subprocess.run(["openssl", "pkey", "-pubout"], input=private, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl with Ed25519 here")
    package.save(tmp_path / "a.ds", key=private)
    assert Package.open(tmp_path / "a.ds", public).manifest.signature == "verified"


def test_cryptography_is_not_needed_without_signatures(tmp_path, package):
    package.save(tmp_path / "a.ds")
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from deepseek_core.package import Package, generate_key\n"
        "Package.open(sys.argv[1]).save(sys.argv[1])\n"
        "try: generate_key()\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.ds"], capture_output=True, text=True, check=True)
    assert "pip install 'deepseek-core[sign]'" in done.stdout
