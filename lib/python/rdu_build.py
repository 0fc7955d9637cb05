# SPDX-License-Identifier: MIT
"""Makes a wheel of the package rdu: PEP 517's hooks, so that pip takes this folder, without any other package.

A wheel has the two libraries in it, as `make` left them in build/host; what these are linked with (libdrm,
libprotobuf-c) has to be on the machine, as NumPy has to.

    python3 rdu_build.py wheel FOLDER       the wheel, in a folder
    python3 rdu_build.py metadata FOLDER    rdu-VERSION.dist-info, for `make install`: what importlib.metadata reads
"""
import base64
import hashlib
import os
import re
import sys
import sysconfig
import time
import zipfile
from typing import Any, Dict, List, Optional, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
LIBRARIES = ("librdu.so.1", "librduc.so.1")
#: The package's _where.py in a wheel: the libraries are beside it.
WHERE = '''# SPDX-License-Identifier: MIT
"""Where the libraries lie: in the package."""
import os

FOLDER = os.path.dirname(os.path.abspath(__file__))
'''


def _read(*path: str) -> bytes:
    with open(os.path.join(TOP, *path), "rb") as f:
        return f.read()


def version() -> str:
    found = re.search(r"^VERSION := (\S+)$", _read("Makefile").decode(), re.M)
    if not found:
        raise SystemExit("rdu_build: the Makefile at the top has no line VERSION := ...")
    return found.group(1)


def metadata() -> Dict[str, bytes]:
    """Files that describe the package, by their names in its dist-info."""
    said = f"""Metadata-Version: 2.1
Name: rdu
Version: {version()}
Summary: Run and train models on a reconfigurable dataflow card, or on its model in this process
License: MIT
Requires-Python: >=3.9
Requires-Dist: numpy
Provides-Extra: torch
Requires-Dist: torch; extra == "torch"
Provides-Extra: onnx
Requires-Dist: onnx; extra == "onnx"
"""
    return {"METADATA": said.encode(), "entry_points.txt": _read("lib", "python", "rdu.egg-info", "entry_points.txt")}


def _package() -> List[Tuple[str, bytes]]:
    names = sorted(n for n in os.listdir(os.path.join(HERE, "rdu")) if n.endswith(".py"))
    files = [(f"rdu/{n}", WHERE.encode() if n == "_where.py" else _read("lib", "python", "rdu", n)) for n in names]
    for name in LIBRARIES:
        if not os.path.exists(os.path.join(TOP, "build", "host", name)):
            raise SystemExit(f"rdu_build: there is no build/host/{name}: run make first")
        files.append((f"rdu/{name}", _read("build", "host", name)))
    return files


def build_wheel(wheel_directory: str, config_settings: Optional[Dict[str, Any]] = None,
                metadata_directory: Optional[str] = None) -> str:
    """PEP 517: write the wheel into a folder; returns its name."""
    tag = "py3-none-" + re.sub("[-.]", "_", sysconfig.get_platform())
    info = f"rdu-{version()}.dist-info"
    about = f"Wheel-Version: 1.0\nGenerator: rdu_build\nRoot-Is-Purelib: false\nTag: {tag}\n"
    files = _package() + [(f"{info}/{n}", data) for n, data in metadata().items()]
    files += [(f"{info}/WHEEL", about.encode()), (f"{info}/licenses/MIT.txt", _read("LICENSES", "MIT.txt"))]
    record = []
    for name, data in files:
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(data)}\n")
    record.append(f"{info}/RECORD,,\n")
    files.append((f"{info}/RECORD", "".join(record).encode()))
    # The same bytes from the same files: 1980 is as far back as a zip file knows.
    when = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), 315532800))[:6]
    wheel = f"rdu-{version()}-{tag}.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, wheel), "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in files:
            entry = zipfile.ZipInfo(name, when)
            entry.external_attr = (0o755 if ".so" in name else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(entry, data)
    return wheel


def write_metadata(folder: str) -> str:
    """The dist-info of an installed package, in the folder that has the package; returns its path."""
    path = os.path.join(folder, f"rdu-{version()}.dist-info")
    os.makedirs(path, exist_ok=True)
    for name, data in metadata().items():
        with open(os.path.join(path, name), "wb") as f:
            f.write(data)
    return path


if __name__ == "__main__":
    DO = {"wheel": build_wheel, "metadata": write_metadata}
    if len(sys.argv) != 3 or sys.argv[1] not in DO:
        sys.exit("usage: rdu_build.py {wheel | metadata} FOLDER")
    print(os.path.join(sys.argv[2], os.path.basename(DO[sys.argv[1]](sys.argv[2]))))
