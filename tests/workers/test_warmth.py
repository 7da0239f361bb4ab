"""Warming up: what is imported before the first stage, and what the fingerprint tells apart."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from results.files import json_bytes
from workers.warmth import LIBRARIES, fingerprint, warm_up

ROOT = Path(__file__).parents[2]


def in_a_fresh_process(code: str, **environment: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", f"import json, os, sys\nfrom workers.warmth import warm_up\n{code}"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "", **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def test_the_modules_of_the_runners_are_imported_and_no_others() -> None:
    code = "warm_up(['tests.support.toys:run']); print(json.dumps([m in sys.modules for m in %r]))"
    assert in_a_fresh_process(code % ["tests.support.toys", "torch", "transformers"]) == [True, False, False]


@pytest.mark.parametrize(("given", "found"), [({}, "1"), ({"HF_HUB_OFFLINE": "0"}, "0")])
def test_the_network_stays_off_unless_the_environment_says_otherwise(
    given: dict[str, str], found: str
) -> None:
    assert (
        in_a_fresh_process("warm_up([]); print(json.dumps(os.environ['HF_HUB_OFFLINE']))", **given) == found
    )


def test_a_runner_that_cannot_be_imported_keeps_no_other_from_warming_up(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert set(warm_up(["no_such_module:run", "tests.support.toys:run"])) == set(fingerprint())
    assert "No module named 'no_such_module'" in capfd.readouterr().err


def test_a_fingerprint_names_libraries_processor_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YATES_CODE", "abc123")
    found = fingerprint()
    assert found["code"] == "abc123"
    assert found["numpy"] == version("numpy")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["processor"]
    assert set(LIBRARIES) <= set(found)


def test_a_library_that_is_not_installed_is_an_empty_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.warmth.LIBRARIES", ("a-library-nobody-has",))
    assert fingerprint()["a-library-nobody-has"] == ""


def test_two_fingerprints_of_one_process_are_equal_and_fit_a_record() -> None:
    assert fingerprint() == fingerprint()
    assert json.loads(json_bytes(fingerprint())) == fingerprint()
