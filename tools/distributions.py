"""What sdists and wheels hold, compared with the source tree that they were made of."""

from __future__ import annotations

import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
# what a wheel of ception may lack least: typing, pages, and the pictures of the demo with their licence
NEEDED = ("ception/py.typed", "ception/pages/page.html.jinja", "ception/evaluation/report.html.jinja",
          "ception/checking/page.html.jinja", "ception/serving/static/index.html", "ception/weights/imagenet.txt",
          "ception/data/samples/fashion_mnist_sample.npz", "ception/data/samples/fashion_mnist_sample.LICENSE",
          "*.dist-info/licenses/LICENSE")  # fmt: skip
NEEDED_OF_KERNELS = (
    "ception_kernels/__init__.py",
    "ception_kernels/*ception_kernels.*",
    "ception_kernels/*ception_xla.*",
    "*.dist-info/licenses/LICENSE",
)
METADATA = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/*", "sboms/*.cdx.json")


def version(project: Path) -> str:
    """What the `pyproject.toml` of a folder says."""
    stated: str = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return stated


def tracked(root: Path = ROOT) -> dict[str, bytes]:
    """The files of the source tree that are under version control, by their paths, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
    names = [name for name in listed.split("\0") if name and (root / name).is_file()]
    return {name: (root / name).read_bytes() for name in names}


def members(archive: Path) -> dict[str, bytes]:
    """The files in a wheel or an sdist by their paths; those of an sdist without its own folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}
    with tarfile.open(archive) as sdist:
        files = {one.name.partition("/")[2]: sdist.extractfile(one) for one in sdist.getmembers() if one.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


def faults_of_wheel(found: Mapping[str, bytes], package: Mapping[str, bytes], needed: Iterable[str],
                    built: Iterable[str] = ()) -> list[str]:  # fmt: skip
    """What is wrong with the content of a wheel.

    Args:
        found: Its files.
        package: The files of the source tree that have to be in it, by their paths there.
        needed: Patterns of what must not be missing, whatever the source tree has.
        built: Patterns of what the build has made.
    """
    others = {name for name in found.keys() - package.keys() if not _is_metadata(name) and not _any(name, built)}
    faults = _against(found, package)
    faults += [f"has {name}, which is not in the source tree" for name in sorted(others)]
    faults += [f"lacks {pattern}" for pattern in needed if not any(fnmatch(name, pattern) for name in found)]
    return faults + _paths_of_this_machine(found)


def faults_of_sdist(found: Mapping[str, bytes], source: Mapping[str, bytes]) -> list[str]:
    """What is wrong with the content of an sdist.

    Args:
        found: Its files.
        source: The files of the source tree that have to be in it, and no others but `PKG-INFO`.
    """
    others = sorted(found.keys() - source.keys() - {"PKG-INFO", ".gitignore"})
    faults = _against(found, source) + [f"has {name}, which does not belong into it" for name in others]
    return faults + _paths_of_this_machine(found)


def differences(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """The files in which two wheels differ, that lists them apart."""
    names = sorted(one.keys() | other.keys())
    return [name for name in names if one.get(name) != other.get(name) and not name.endswith("/RECORD")]


def _against(found: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> list[str]:
    faults = [f"lacks {name}" for name in sorted(wanted.keys() - found.keys())]
    return faults + [f"has another {name}" for name in sorted(found.keys() & wanted) if found[name] != wanted[name]]


def _is_metadata(name: str) -> bool:
    folder, _, rest = name.partition("/")
    return folder.endswith(".dist-info") and _any(rest, METADATA)


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _paths_of_this_machine(found: Mapping[str, bytes]) -> list[str]:
    """Where a file tells of the folder that it was built in, or of the user's home."""
    places = [str(place).encode() for place in (ROOT, Path.home()) if place != Path("/")]
    return [f"has {name}, in which {place.decode()} stands" for name, data in sorted(found.items()) for place in places
            if place in data]  # fmt: skip
