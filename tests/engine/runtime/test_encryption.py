"""Encryption with the first key, decryption with any, and the key file."""

import base64
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.engine.runtime.encryption import Encryption, open_encryption
from waypost.errors import Invalid, Unavailable

ONE, TWO, THREE = (base64.b64encode(bytes([number]) * 32).decode() for number in (250, 2, 3))
NOWHERE = Path("/nonexistent")
encryption = Encryption([bytes(32)])


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_sealed_can_be_opened_and_not_read(text):
    encrypted = encryption.encrypt(text)
    assert encryption.decrypt(encrypted) == text
    assert encrypted.isascii()
    assert encrypted != encryption.encrypt(text)


def test_keys_rotate():
    encrypted = open_encryption(ONE, NOWHERE).encrypt("secret")
    rotated = open_encryption(f"{TWO}, {ONE}", NOWHERE)
    assert rotated.decrypt(encrypted) == "secret"
    assert open_encryption(TWO, NOWHERE).decrypt(rotated.encrypt("secret")) == "secret"
    with pytest.raises(Unavailable) as caught:
        open_encryption(THREE, NOWHERE).decrypt(encrypted)
    assert caught.value.code == "wrong_secret_key"


@pytest.mark.parametrize("change", ["", "é", "x" * 100])
def test_what_was_not_sealed_here_does_not_open(change):
    with pytest.raises(Unavailable):
        encryption.decrypt(change)
    encrypted = encryption.encrypt("secret")
    with pytest.raises(Unavailable):
        encryption.decrypt(encrypted[:20] + ("A" if encrypted[20] != "A" else "B") + encrypted[21:])


def test_a_key_may_be_written_in_the_alphabet_of_urls():
    encrypted = open_encryption(ONE, NOWHERE).encrypt("secret")
    assert "+" in ONE
    assert open_encryption(ONE.replace("+", "-").replace("/", "_"), NOWHERE).decrypt(encrypted) == "secret"


@pytest.mark.parametrize(
    "key", ["x", "é" * 44, ONE[:-4], ONE + "," + ONE[4:], ONE + ",", base64.b64encode(b"x").decode()]
)
def test_a_key_of_the_wrong_size_is_refused_with_how_to_make_one(key):
    with pytest.raises(Invalid, match=r"setting secret_key must be 32 bytes.*openssl rand -base64 32") as caught:
        open_encryption(key, NOWHERE)
    assert caught.value.code == "invalid_setting"
    assert key not in caught.value.detail


def test_without_a_key_one_is_made_and_kept(tmp_path):
    data = tmp_path / "new" / "data"
    encrypted = open_encryption("", data).encrypt("secret")
    assert open_encryption("", data).decrypt(encrypted) == "secret"
    assert [file.name for file in data.iterdir()] == ["secret.key"]
    assert (data / "secret.key").stat().st_mode & 0o777 == 0o600
    assert open_encryption((data / "secret.key").read_text("ascii"), NOWHERE).decrypt(encrypted) == "secret"


def test_a_draft_that_a_crash_left_behind_is_in_nobodys_way(tmp_path):
    (tmp_path / f"secret.key.{os.getpid()}").write_text("half", "ascii")
    assert open_encryption("", tmp_path).decrypt(open_encryption("", tmp_path).encrypt("secret")) == "secret"


@pytest.mark.parametrize("content", [b"", b"half", b"\xff\x00"])
def test_a_kept_key_that_is_no_key_is_refused_by_its_file(content, tmp_path):
    (tmp_path / "secret.key").write_bytes(content)
    with pytest.raises(Invalid, match=r"secret\.key must be 32 bytes"):
        open_encryption("", tmp_path)
    assert (tmp_path / "secret.key").read_bytes() == content


def test_of_several_that_start_at_once_all_have_the_key_of_the_first(tmp_path):
    encryptions: list[Encryption] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        encryptions.append(open_encryption("", tmp_path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    encrypted = [one.encrypt("secret") for one in encryptions]
    assert len(encrypted) == 8
    assert all(one.decrypt(text) == "secret" for one in encryptions for text in encrypted)
    assert [file.name for file in tmp_path.iterdir()] == ["secret.key"]
