"""The least that pip needs to build a wheel: a zip file with three files of metadata."""

from __future__ import annotations

import zipfile
from pathlib import Path

NAME = "shipping-1.2.3"
INFO = f"{NAME}.dist-info"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    files = {
        f"shipping/{path.name}": path.read_text() for path in Path("shipping").glob("*.py")
    } | {
        f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: shipping\nVersion: 1.2.3\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{INFO}/entry_points.txt": "[grctl.workflows]\nshipping = shipping:workflows\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{INFO}/RECORD"])
    wheel = f"{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / wheel, "w") as archive:
        for name, text in (files | {f"{INFO}/RECORD": record}).items():
            archive.writestr(name, text)
    return wheel
