"""What a shell completes, and what is written for it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

COMPLETE = """\
. "$1"
COMP_WORDS=("${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
"$(complete -p ception | sed 's/.*-F \\([^ ]*\\).*/\\1/')"
echo "${COMPREPLY[@]}"
"""


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    for name in ("ZSH", "ZSH_CUSTOM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["tr"], {"train"}),
        (["train", "--ba"], {"--backend", "--balance", "--batch-norm", "--batch-size"}),
        (["train", "--resize", ""], {"squash", "crop", "pad"}),
        (["check", "--im"], {"--image-size"}),
        (["--inst"], {"--install-completion"}),
    ],
)
def test_bash_completes_commands_options_and_values(run_cli, home, typed, completed):
    if not shutil.which("bash"):
        pytest.skip("needs bash")
    code, out, err = run_cli("--install-completion", "--shell", "bash")
    script = home / ".local" / "share" / "bash-completion" / "completions" / "ception"
    assert (code, err, str(script) in out) == (0, "", True)
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE, "bash", script, "ception", *typed],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == completed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_reads_at_its_start_is_not_changed(run_cli, home, shell):
    for name in (".bashrc", ".zshrc", ".profile"):
        (home / name).write_text("mine\n")
    code, out, _ = run_cli("--install-completion", "--shell", shell)
    assert code == 0
    assert {path.read_text() for path in home.iterdir() if path.is_file()} == {"mine\n"}
    assert ("~/.zshrc: fpath=" in out) == (shell == "zsh")
    [script] = [path for path in home.rglob("*ception*") if path.is_file()]
    assert "batch-norm" in script.read_text()


def test_a_shell_that_cannot_be_told_is_asked_for(run_cli, home, monkeypatch):
    for name in ("ZSH_VERSION", "BASH_VERSION", "FISH_VERSION", "SHELL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("cyclopts.completion.detect.subprocess.run", _no_process)
    code, out, err = run_cli("--install-completion")
    assert (code, out) == (2, "")
    assert err == "ception: the shell cannot be told: name it with --shell bash, zsh, fish or powershell\n"
    assert list(home.iterdir()) == []


def _no_process(*_: object, **__: object) -> None:
    raise FileNotFoundError("ps")
