"""The user's key signs what the user writes; nobody else can read it, and a key that others can read is not used."""

import os

import pytest

from ppo.machine.key import SIZE, is_signed, sign


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_signature_belongs_to_one_text_and_one_key(folder):
    signature = sign("text")
    assert is_signed("text", signature)
    assert (folder / "key").stat().st_size == SIZE == 32
    assert [file.name for file in folder.iterdir()] == ["key"]
    assert sign("text") == signature
    assert not any(is_signed(*pair) for pair in [("other", signature), ("text", ""), ("text", "é"), ("text", "0" * 64)])
    (folder / "key").unlink()
    assert not is_signed("text", signature)
    assert sign("text") != signature


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no permissions")
def test_the_key_is_the_users_alone(folder):
    signature = sign("text")
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    (folder / "key").chmod(0o640)
    assert not is_signed("text", signature)
    assert sign("text") == ""


def test_without_a_place_for_the_key_nothing_is_signed(folder):
    folder.write_text("a file in the folder's place")
    assert sign("text") == ""
    assert not is_signed("text", "")


def test_a_link_or_a_cut_key_is_not_used(folder, tmp_path):
    signature = sign("text")
    (folder / "key").rename(tmp_path / "moved")
    (folder / "key").symlink_to(tmp_path / "moved")
    assert not is_signed("text", signature)
    (folder / "key").unlink()
    (folder / "key").write_bytes(b"short")
    (folder / "key").chmod(0o600)
    assert sign("text") == ""
