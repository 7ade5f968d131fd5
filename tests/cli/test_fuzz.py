"""A few hundred of the cases of `scripts/fuzz_restore.py`; the script runs thousands."""

from pathlib import Path

import pytest
from fuzz_restore import KINDS, run_case, save_model

from tests.patience import PATIENCE_S

CASES = 25


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A case that takes the ten seconds of the script shows a slow machine here, one without end a fault."""
    monkeypatch.setattr("fuzz_restore.LIMIT_S", PATIENCE_S)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(folder)
    return folder


@pytest.mark.parametrize("first", range(0, 300, CASES))
def test_no_damaged_file_or_odd_name_does_harm(model: Path, first: int) -> None:
    outcomes = {seed: run_case(seed, model) for seed in range(first, first + CASES)}
    assert {seed: outcome.problems for seed, outcome in outcomes.items() if outcome.problems} == {}
    assert len({outcome.kind for outcome in outcomes.values()}) > len(set(KINDS)) / 2


def test_harm_would_be_seen(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is made to write over its inputs, to leave half a file, and to end oddly."""

    def harmful(arguments: list[str]) -> int:
        out, photo = Path(arguments[arguments.index("-o") + 1]), Path(arguments[-1])
        out.mkdir(exist_ok=True)
        (out / "photo.png").write_bytes(b"half")
        (out / "x.tmp").touch()
        for path in [photo] if photo.is_file() else []:
            path.write_bytes(b"changed")
        return 3

    monkeypatch.setattr("fuzz_restore.rlrestore", harmful)
    problems = run_case(1, model).problems
    for words in ("ended with 3", "failed without a word", "changed an input", "'photo.png'", "'x.tmp'"):
        assert any(words in problem for problem in problems), (words, problems)
