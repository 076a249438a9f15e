"""Environment variables: typed, checked, read anew at each use, and in a sentence where they are wrong."""

import pytest

from infoflow.errors import InfoflowError
from infoflow.settings import OF_STRANGERS, PUBLIC_HOST, settings

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
        *(
            (f"INFOFLOW_{may}", "perhaps", r"1 \(yes\) or 0 \(no\)")
            for may in ("LOCAL_FOLDERS", "UNLOAD", "SHARE_KEY", "HOSTED", "API", "LOG_PROMPTS")
        ),
    ],
)
def test_what_is_wrong_is_told(name: str, value: str, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InfoflowError, match=f"{name} is '{value}'; it must be {wanted}. Correct it or unset it."):
        settings()


def test_a_hosted_app_has_a_limit_on_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = settings()
    assert not alone.hosted and {getattr(alone, name) for name in OF_STRANGERS} == {None, 10}, "and max_minutes"
    monkeypatch.setenv("INFOFLOW_HOSTED", "1")
    now = settings()
    assert {name: getattr(now, name) for name in OF_STRANGERS} == OF_STRANGERS and None not in OF_STRANGERS.values()
    assert now.listed == ("demo",) and now.listed_on_ndif == ()


def test_what_is_said_comes_before_what_a_hosted_app_has(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "HOSTED": "1",
        "MAX_SECONDS": "7",
        "MAX_MINUTES": "9",
        "UNLOAD": "1",
        "MODELS": " demo, smollm2 ,,",
        "RUNS_PER_MINUTE": "",
    }
    for name, value in said.items():
        monkeypatch.setenv(f"INFOFLOW_{name}", value)
    now = settings()
    assert (now.max_seconds, now.max_minutes, now.unload, now.listed) == (7, 9, True, ("demo", "smollm2"))
    assert now.runs_per_minute == OF_STRANGERS["runs_per_minute"], "an empty one is unsaid"


def test_tokens_are_shown_by_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INFOFLOW_API_TOKEN", "INFOFLOW_OWNER_TOKEN", "NDIF_API_KEY"):
        monkeypatch.setenv(name, f"secret of {name}")
    assert "secret of" not in repr(settings()) + str(settings())
    assert settings().owner_token.get_secret_value() == "secret of INFOFLOW_OWNER_TOKEN"
