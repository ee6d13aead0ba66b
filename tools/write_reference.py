"""Write what is generated of docs/reference/: commands.md, python.md and the schemas, after a change of what they tell.

python tools/write_reference.py

Commands and options come from the command line itself, which has them from `ception.settings`; functions and classes
from their signatures and docstrings; schemas from the types of the results.
"""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from docstring_parser import Docstring
from docstring_parser.google import DEFAULT_SECTIONS, GoogleParser, Section, SectionType

import ception
from ception import results
from ception.cli import app as cli
from ception.settings import EngineSettings
from ception.values import flag
from json_schemas import schemas

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- Written by tools/write_reference.py: change what it describes instead. -->\n\n"
COMMANDS = {  # by what one wants
    "From pictures to a model": ("check", "train", "tune", "evaluate", "compare", "runs"),
    "Using a model": ("predict", "explain", "serve", "export"),
    "Networks and weights": ("models", "summary", "convert"),
    "Data, machine and beginning": ("shard", "cache", "bench", "doctor", "demo"),
}
GROUPS = {
    "From pictures to a model": (
        "check",
        "train",
        "train_on",
        "resume",
        "tune",
        "find_learning_rate",
        "evaluate",
        "compare",
        "runs",
    ),
    "Using a model": ("predict", "predict_into", "Predictor", "Classifier", "explain", "serve", "export"),
    "Networks and weights": ("build", "MODELS", "summary", "endpoints", "stages", "features", "truncate", "convert"),
    "Data and machine": ("shard", "bench", "doctor"),
    "What happens, and what goes wrong": ("Reporter", "Run", "InputError", "RunError"),
}
SHARED = {flag(field.name) for field in fields(EngineSettings)}  # options of many commands, which come last
_SECTIONS = [section for section in DEFAULT_SECTIONS if section.key != "attribute"]
_PARSER = GoogleParser([
    *_SECTIONS,
    Section("Attributes", "attribute", SectionType.MULTIPLE),
    Section("Source", "source", SectionType.SINGULAR),
])  # fmt: skip


def grouped(groups: Mapping[str, tuple[str, ...]], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The groups with all names; those that none has come last, in a group of their own."""
    named = {name for group in groups.values() for name in group}
    others = tuple(name for name in names if name not in named)
    return {**groups, **({"More": others} if others else {})}


def commands() -> str:
    """The page of every command with its arguments and options."""
    text = f"{NOTE}# Commands\n\n"
    text += "`ception COMMAND --help` shows the same in a terminal. Exit codes are in [environment](environment.md).\n"
    groups = grouped(COMMANDS, (name for name in cli.app if not name.startswith("-") and name != "help"))
    for group, names in groups.items():
        text += f"\n- {group}: " + ", ".join(f"[{name}](#{name})" for name in names)
    text += "\n"
    for names in groups.values():
        text += "".join(map(_command, names))
    return text + "\nNext: [Python](python.md), [files](files.md).\n"


def _command(name: str) -> str:
    """The part of a command."""
    arguments = [one for one in cli.app[name].assemble_argument_collection(parse_docstring=True) if one.show]
    given = [one for one in arguments if not one.names[0].startswith("--")]
    options = [one for one in arguments if one.names[0].startswith("--")]
    options.sort(key=lambda one: one.names[0] in SHARED)
    usage = " ".join(f"[{one.names[0]}]" if _has_default(one) else one.names[0] for one in given)
    text = f"\n## {name}\n\n{_flowing(cli.app[name].help)}\n\n```text\nception {name} {usage}\n```\n"
    if given:
        text += "\n" + "".join(f"- `{one.names[0]}`: {_flowing(one.parameter.help)}\n" for one in given)
    if options:
        text += "\n| option | default | what it does |\n|---|---|---|\n" + "".join(map(_option, options))
    return text


def _option(argument: Any) -> str:
    """The row of an option."""
    default = argument.field_info.default
    choices = next((typing.get_args(one) for one in (argument.hint, *typing.get_args(argument.hint))
                    if typing.get_origin(one) is typing.Literal), ())  # fmt: skip
    told = "" if default in (None, inspect.Parameter.empty, ()) or isinstance(default, bool) else f"`{default}`"
    told = "on" if default is True else told
    shown = argument.names if default is True else argument.names[:1]
    names = ", ".join(f"`{name}`" for name in shown)
    also = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
    return f"| {names} | {told} | {_cell(argument.parameter.help)}{also} |\n"


def _has_default(argument: Any) -> bool:
    return argument.field_info.default is not inspect.Parameter.empty


def _flowing(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str | None) -> str:
    return _flowing(text).replace("|", "\\|")


def python() -> str:
    """The page of every public name."""
    text = f"{NOTE}# Python\n\n"
    text += "What `import ception` gives. Options of tasks are those of the command of that name, with `_` for `-`: "
    text += "[commands](commands.md) explains them, editors complete them.\n"
    for group, names in grouped(GROUPS, (name for name in ception.__all__ if name != "__version__")).items():
        text += f"\n## {group}\n" + "".join(_member(name, getattr(ception, name)) for name in names)
    text += "\n## Results\n\nWhat tasks return; `as_dict()` gives what `--json` writes.\n"
    text += "".join(_member(name, getattr(results, name)) for name in result_names())
    return text + "\nNext: [files](files.md), [examples](../../examples).\n"


def result_names() -> list[str]:
    """The names of all that tasks return, and of what it is made of."""
    kinds = {name for name, kind in vars(results).items() if inspect.isclass(kind) and is_dataclass(kind)}
    return sorted(kinds)


def _member(name: str, member: Any, owner: str = "") -> str:
    """The part of a function, class or table."""
    if name == "MODELS":
        told = "`ception.models.Architecture` with its table, published numbers and source ([networks](../networks.md))"
        return f"\n### MODELS\n\nEvery network by its name: {told}.\n"
    text = f"\n{'####' if owner else '###'} {owner}{name}\n\n"
    parsed = _PARSER.parse(inspect.getdoc(member) or "")
    if not (inspect.isclass(member) and (is_dataclass(member) or issubclass(member, Exception))):
        text += f"```text\n{owner}{name}{_signature(member, bool(owner))}\n```\n\n"
    text += _described(parsed)
    if inspect.isclass(member) and not owner and name in ("Classifier", "Predictor", "Reporter"):
        text += "".join(_member(method, getattr(member, method), f"{name}.") for method in _methods(member))
    return text


def _methods(kind: type) -> list[str]:
    """The public methods of a class, in its order."""
    own = {name: member for name, member in vars(kind).items() if not name.startswith("_")}
    return [name for name, member in own.items() if inspect.isfunction(member) or isinstance(member, classmethod)]


def _signature(member: Any, method: bool) -> str:
    """Names, types and defaults as they are written."""
    signature = inspect.signature(member)
    parameters = [one for one in signature.parameters.values() if not (method and one.name in ("self", "cls"))]
    shown = [
        one.replace(default=inspect.Parameter.empty) if "factory" in str(one.default) else one for one in parameters
    ]
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(signature.replace(parameters=shown)))


def _described(parsed: Docstring) -> str:
    """A docstring in Markdown."""
    text = "\n\n".join(_flowing(part) for part in (parsed.short_description, parsed.long_description) if part)
    lines = []
    for one in parsed.meta:
        kind, _, name = one.args[0], None, one.args[1].split(" (")[0] if len(one.args) > 1 else ""
        words = _flowing(one.description)
        if kind in ("param", "attribute"):
            lines.append(f"- `{name}`: {words}")
        elif kind == "raises":
            lines.append(f"- raises `{name}`: {words}" if name else f"- raises: {words}")
        elif kind in ("returns", "yields", "source"):
            lines.append(f"- {kind}: {words}")
    return text + "\n" + ("\n" + "\n".join(lines) + "\n" if lines else "")


PAGES = {"commands.md": commands, "python.md": python}


def written() -> dict[str, str]:
    """Every file that this writes, by its path in docs/reference/."""
    made = {page: write() for page, write in PAGES.items()}
    for name, schema in schemas().items():
        made[f"schemas/{name}.schema.json"] = json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
    return made


if __name__ == "__main__":
    for path, text in written().items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_text(text, encoding="utf-8")
