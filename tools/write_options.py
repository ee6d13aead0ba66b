"""Write src/ception/options.py, the keywords of the public functions, from the settings: after each change of them.

python tools/write_options.py
"""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from ception import settings

FILE = Path(__file__).parents[1] / "src" / "ception" / "options.py"
# of each task the settings, and the fields that its function names in its signature
TASKS: dict[str, tuple[type[Any], set[str]]] = {
    "TrainOptions": (settings.TrainSettings, set()),
    "TuneOptions": (settings.TuneSettings, set()),
    "EvaluateOptions": (settings.EvaluateSettings, set()),
    "PredictOptions": (settings.PredictSettings, {"top"}),
    "JobOptions": (settings.JobSettings, set()),
    "CompareOptions": (settings.CompareSettings, set()),
    "CheckOptions": (settings.CheckSettings, set()),
    "ShardOptions": (settings.ShardSettings, set()),
    "ExplainOptions": (settings.ExplainSettings, set()),
    "ServeOptions": (settings.ServeSettings, set()),
    "ExportOptions": (settings.ExportSettings, set()),
    "BenchOptions": (settings.BenchSettings, set()),
}
HEAD = '''"""The keywords of the public functions, for editors and type checkers: `ception.settings` explains them.

Written by tools/write_options.py: change the settings instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypedDict

from ception.settings import {names}
'''


def text() -> str:
    """What the file has to hold."""
    classes, types = "", ""
    for name, (kind, named) in TASKS.items():
        classes += f'\n\nclass {name}(TypedDict, total=False):\n    """Fields of `{kind.__name__}`."""\n\n'
        for field in fields(kind):
            if field.name not in named:
                type_ = re.sub(r"\bPath\b", "str | Path", str(field.type)).replace("'", '"')
                classes += f"    {field.name}: {type_}\n"
                types += f"{type_}\n"
    names = set(re.findall(r"\b[A-Z]\w*", types)) - {"Literal", "None", "Path"}
    return HEAD.format(names=", ".join(sorted(names))) + classes


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
