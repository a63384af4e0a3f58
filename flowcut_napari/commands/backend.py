"""``flowcut backend``: what this Python can train with."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from flowcut_napari.commands import console


def show_backend(*, as_json: bool = False) -> int:
    """Print devices with their memory, versions and configurations; return the exit code."""
    from flowcut_training.config import config_names
    from flowcut_training.machine import describe_parameters, list_devices, versions

    devices, found = list_devices(), versions()
    if as_json:
        console.print_json(
            {
                "versions": found,
                "devices": devices,
                "configurations": config_names(),
                "parameters": describe_parameters(),
            }
        )
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("device", "", "free GiB", "of GiB"):
        table.add_column(heading, justify="right" if "GiB" in heading else "left")
    for device in devices:
        free = "-" if device["free_gib"] is None else f"{device['free_gib']:.1f}"
        table.add_row(device["name"], Text(device["title"]), free, f"{device['total_gib']:.1f}")
    console.stdout.print(table)
    console.result("")
    console.result(", ".join(f"{name} {value}" for name, value in found.items() if value and name != "executable"))
    console.result(f"{found['executable']}; configurations: {', '.join(config_names())}")
    return 0
