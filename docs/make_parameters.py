"""Write the table of training parameters into docs/training.md, from the model that reads them."""

from __future__ import annotations

import re
from pathlib import Path

from flowcut_training.config import TrainingConfig, load_config

PAGE = Path(__file__).parent / "training.md"
_MARK = "<!-- parameters -->"


def table() -> str:
    """Return the table: every parameter, its default, what differs in `tiny`, its meaning."""
    defaults, tiny = TrainingConfig(), load_config("tiny")
    rows = ["| parameter | default | `tiny` | what it is |", "| --- | --- | --- | --- |"]
    for section, field in TrainingConfig.model_fields.items():
        model = field.annotation
        for name, about in model.model_fields.items():  # type: ignore[union-attr]  # sections are models
            value, small = (getattr(getattr(config, section), name) for config in (defaults, tiny))
            differs = _shown(small) if small != value else ""
            rows.append(f"| `{section}.{name}` | {_shown(value)} | {differs} | {about.description} |")
    return "\n".join(rows)


def page_with(rows: str) -> str:
    """Return the page with a table between its marks."""
    text = PAGE.read_text(encoding="utf-8")
    if text.count(_MARK) == 1:
        return text.replace(_MARK, f"{_MARK}\n{rows}\n{_MARK}")
    return re.sub(f"{_MARK}.*{_MARK}", lambda _: f"{_MARK}\n{rows}\n{_MARK}", text, flags=re.DOTALL)


def _shown(value: object) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page_with(table()), encoding="utf-8")
