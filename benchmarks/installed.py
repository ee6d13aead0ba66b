"""What optional parts of the package take on the disk, beside what the plain one and TensorFlow have already.

    python benchmarks/installed.py                  # those of README's commands
    python benchmarks/installed.py openvino nncf

Each must be installed here. Rows of results/installed.csv: a part, the distributions that come with it, their bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import results


def needed(name: str, extras: Iterable[str], found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Distributions that one with some extras needs, itself among them, each with the extra; added to those found."""
    for extra in ("", *extras):
        one = canonicalize_name(name), extra
        if one in found:
            continue
        found.add(one)
        for text in distribution(name).requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed(requirement.name, sorted(requirement.extras), found)
    return found


def names(extras: Iterable[str]) -> set[str]:
    """Distributions that the package with some extras needs."""
    return {name for name, _ in needed("ception", extras, set())}


def size(name: str) -> int:
    """Bytes of the files of an installed distribution."""
    places = (Path(file.locate()) for file in distribution(name).files or [])
    return sum(place.stat().st_size for place in places if place.is_file())


def main() -> None:
    """Measure, and append the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extras", nargs="*", default=["openvino", "serve", "onnx"])
    options = parser.parse_args()
    plain = names(["tensorflow"])
    for extra in options.extras:
        try:
            added = sorted(names(["tensorflow", extra]) - plain)
            row = {"extra": extra, "distributions": " ".join(added), "mb": round(sum(map(size, added)) / 1e6, 1)}
        except PackageNotFoundError as error:
            raise SystemExit(f"{error.name} is not installed: pip install 'ception[{extra}]'") from None
        print(row)
        results.append("installed", row)


if __name__ == "__main__":
    main()
