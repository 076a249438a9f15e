"""Environment variables: typed, checked, read anew at each use, and in a sentence where they are wrong."""

import pytest

from infoflow.errors import InfoflowError
from infoflow.settings import PUBLIC_HOST, settings

NAMES = ("INFOFLOW_MAX_TOKENS", "INFOFLOW_MAX_MEMORY_MB", "INFOFLOW_MAX_MINUTES", "INFOFLOW_LOCAL_FOLDERS", "INFOFLOW_UNLOAD",
         "INFOFLOW_SHARE_KEY", "NDIF_HOST", "NDIF_API_KEY")  # fmt: skip


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_what_is_not_said_has_its_default(empty: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False) if empty is None else monkeypatch.setenv(name, empty)
    now = settings()
    assert (now.max_tokens, now.max_memory_mb, now.local_folders, now.host) == (64, None, None, PUBLIC_HOST)
    assert now.key.get_secret_value() == "" and now.unload is None and now.share_key is None


def test_what_is_said_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("7", " 8 "):
        monkeypatch.setenv("INFOFLOW_MAX_TOKENS", value)
        assert settings().max_tokens == int(value)
    monkeypatch.setenv("NDIF_HOST", " http://127.0.0.1:9/ ")
    monkeypatch.setenv("NDIF_API_KEY", "secret-key")
    monkeypatch.setenv("INFOFLOW_LOCAL_FOLDERS", "0")
    now = settings()
    assert now.host == "http://127.0.0.1:9" and now.local_folders is False
    assert now.key.get_secret_value() == "secret-key" and "secret-key" not in repr(now) + str(now)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("INFOFLOW_MAX_TOKENS", "many", "a whole number of 1 or more"),
        ("INFOFLOW_MAX_TOKENS", "0", "a whole number of 1 or more"),
        ("INFOFLOW_MAX_MEMORY_MB", "-3", "a whole number of 1 or more"),
        ("INFOFLOW_MAX_MEMORY_MB", "1.5", "a whole number of 1 or more"),
        *((f"INFOFLOW_{may}", "perhaps", r"1 \(yes\) or 0 \(no\)") for may in ("LOCAL_FOLDERS", "UNLOAD", "SHARE_KEY")),
    ],
)
def test_what_is_wrong_is_told(name: str, value: str, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InfoflowError, match=f"{name} is '{value}'; it must be {wanted}. Correct it or unset it."):
        settings()
