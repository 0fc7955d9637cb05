# SPDX-License-Identifier: MIT
"""Where the libraries lie. `make install` writes the folder that it puts them in."""
import os

#: In the source tree: what `make` built.
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../build/host")
