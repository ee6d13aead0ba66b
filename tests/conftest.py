from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

from ception import backends

backends.choose()
hypothesis.settings.register_profile("ception", deadline=None)  # the machine may be busy
hypothesis.settings.load_profile("ception")

SHARED = Path(__file__).parents[2] / "shared" / "data"
COLOURS = {"blue": (30, 40, 200), "green": (20, 180, 60), "red": (210, 30, 40)}


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    os.environ["CEPTION_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the data sets in {SHARED}, which are not here")
    return SHARED


def write_pictures(
    root: Path, counts: dict[str, int], *, seed: int = 0, size: tuple[int, int] = (24, 20), suffix: str = ".png"
) -> Path:
    """A folder per class of noisy pictures of one colour each, which a network can tell apart."""
    random = np.random.default_rng(seed)
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        colour = COLOURS.get(name) or [(number * 80) % 256, (number * 150) % 256, 128]
        for index in range(count):
            pixels = np.clip(random.normal(colour, 25, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:03d}{suffix}")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "colours", dict.fromkeys(COLOURS, 30))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a short training on colours, beside its data set `colours`."""
    import ception

    place = tmp_path_factory.mktemp("trained")
    write_pictures(place / "colours", dict.fromkeys(COLOURS, 40))
    return ception.train(
        place / "colours", model="separable_cnn", epochs=3, batch_size=16, image_size=16, runs=place / "runs"
    ).folder


@pytest.fixture
def run_cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: exit code, standard output, standard error."""
    from ception.cli import main

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def content(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def labels_of(names: Sequence[str]) -> list[str]:
    return [Path(name).parent.name for name in names]
