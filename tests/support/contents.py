"""All that lies in files and folders, unpacked, and what must not be among it."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path


def contents(paths: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of files, of all files of folders, and of what archives among them hold."""
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                content = file.read_bytes()
                yield file.name, content
                if zipfile.is_zipfile(file):
                    with zipfile.ZipFile(io.BytesIO(content)) as archive:
                        yield from ((f"{file.name}/{name}", archive.read(name)) for name in archive.namelist())


def require_private(paths: Iterable[Path], *private: Path) -> None:
    """Fail where anything in files names one of these folders, the home folder, or one of this program's."""
    here = Path(__file__).resolve()
    folders = {str(path) for path in (*private, Path.cwd(), here.parents[2], Path(sys.prefix))} | {f"{Path.home()}/"}
    for name, content in contents(paths):
        for folder in folders:
            for written in (folder.encode(), folder.encode("utf-16-le"), folder.replace("/", "\\/").encode()):
                assert written not in content, f"{name} names {folder}"
